"""
Tests for L{twisted_mqtt.monitoring}.
"""
