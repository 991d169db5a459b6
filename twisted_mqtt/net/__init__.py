"""
Streams and their ports: our own transport below any Twisted reactor, and readers of the head of a connection.
"""
