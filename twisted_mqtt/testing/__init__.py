"""
Test kits for the authors of extensions: a broker in memory, and clients and extensions for it.
"""
