"""
Tests for L{twisted_mqtt.modules}.
"""
