"""
A multi-protocol message broker for Twisted: MQTT, and the ground on which the gateways stand.
"""
