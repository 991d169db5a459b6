"""
Extensions: how they are found, started and stopped.
"""
