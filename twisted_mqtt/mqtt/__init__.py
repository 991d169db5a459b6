"""
MQTT as a Twisted protocol.
"""
