"""
Content formats of LwM2M: bytes to values and back. Pure.
"""
