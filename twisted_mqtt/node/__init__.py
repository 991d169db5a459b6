"""
A node: a broker with its listeners and extensions, and its configuration while it runs.
"""
