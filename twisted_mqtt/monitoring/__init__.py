"""
Watching the broker: what it says of itself, and to whom.
"""
