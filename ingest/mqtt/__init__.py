"""The city's MQTT client: address, connection, inbox."""
