"""
Stores: where sessions, queues, retained messages and wills are kept.
"""
