"""
LwM2M 1.0 and 1.1 (OMA): a gateway to devices. MQTT clients send them commands in JSON.
"""
