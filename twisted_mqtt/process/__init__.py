"""
The process around a broker: its log, its service manager, its limits.
"""
