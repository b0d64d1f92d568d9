"""The gateway: doors for devices that speak no MQTT, HJ 212 stations and platforms that push over HTTP.

::

    station ──TCP──► Hj212Door ──┐                     ┌─► 9014
                                 ├─► Relay ─► broker ──┤  … worker … fsync … /ack ─► Relay ─► the answer
    platform ─POST─► push ───────┘                     └─► 200 with the receipt

It keeps nothing. A message goes to the broker as it came, and its sender is answered once the city's receipt has named
it, so that an answer here promises what a receipt promises; without one in time the sender hears nothing (HJ 212) or
503 (HTTP), and sends again, which is stored once. Who may speak for which device is asked first (`Doorkeeper`).
"""
