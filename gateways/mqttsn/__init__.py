"""
MQTT-SN 1.2: MQTT for sensors, over datagrams.
"""
