"""
Tests of the pure core: called, compared, no reactor.
"""
