"""
Streams and their ports: a transport of our own below any Twisted reactor, and what reads the head of a connection.
"""
