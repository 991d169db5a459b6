"""
An extension of the broker that greets clients.
"""
