"""How does a reading get in, and stay in: topics, payloads, the MQTT client, the spool, the stores, the worker."""
