"""
Tests of the gateways.
"""
