"""
The LwM2M gateway in a broker process, with devices that are made of aiocoap.
"""
