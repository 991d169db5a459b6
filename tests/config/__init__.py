"""
Tests for L{twisted_mqtt.config}.
"""
