"""
Extensions that come with the broker and need no outside system.
"""
