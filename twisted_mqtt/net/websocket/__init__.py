"""
WebSocket between a port and a protocol (RFC 6455, RFC 7692).
"""
