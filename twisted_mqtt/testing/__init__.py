"""
Test kits for the authors of extensions: a broker in memory and what to talk to it with.
"""
