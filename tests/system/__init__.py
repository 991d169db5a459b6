"""
The broker as a process, driven by clients that other people wrote.
"""
