"""
Gateways: protocols other than MQTT, whose clients are clients of the same broker.
"""
