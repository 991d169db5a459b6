"""
The tests, ring by ring: pure core, properties, Twisted shells, vectors of the specifications, whole processes.
"""
