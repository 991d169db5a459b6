"""
What carries CoAP messages: UDP, DTLS, TCP, multicast.
"""
