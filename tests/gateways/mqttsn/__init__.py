"""
Tests of the MQTT-SN gateway.
"""
