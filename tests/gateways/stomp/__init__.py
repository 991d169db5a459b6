"""
Tests of the STOMP gateway.
"""
