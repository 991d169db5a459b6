"""
The extension C{trace}: what chosen clients send and are sent, and what hooks say to it, in files or live.
"""
