"""
Hook points: where extensions watch, change or refuse what the broker does.
"""
