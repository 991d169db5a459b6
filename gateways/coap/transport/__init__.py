"""
The transports of CoAP messages: UDP, DTLS, TCP, multicast.
"""
