"""
TLS between a port and a protocol: contexts, certificates, pre-shared keys.
"""
