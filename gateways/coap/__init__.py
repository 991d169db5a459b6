"""
CoAP (RFC 7252) with observation, block-wise transfer and DTLS: a gateway, and the basis of LwM2M.
"""
