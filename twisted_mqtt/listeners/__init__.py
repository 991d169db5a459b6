"""
Listeners for MQTT clients: from tables of the configuration to open ports.
"""
