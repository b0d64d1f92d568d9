"""What is the city: assets, coordinates, pipe networks, the city database, and the readers and writers of files.

Nothing here knows that sensors, MQTT or Dash exist.
"""
