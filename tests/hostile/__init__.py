"""
Clients that mean harm, against a real process, while others exchange messages.
"""
