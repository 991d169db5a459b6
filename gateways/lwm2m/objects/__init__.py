"""
Object definitions of LwM2M, and paths into a device. Pure.
"""
