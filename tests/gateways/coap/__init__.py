"""
Tests of the CoAP gateway.
"""
