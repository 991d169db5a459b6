"""
A multi-protocol message broker for Twisted: MQTT, and the basis of the gateways.
"""
