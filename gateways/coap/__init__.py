"""
CoAP (RFC 7252) with observation, block-wise transfer and DTLS: a gateway, and the ground that LwM2M stands on.
"""
