"""
Authentication and access rules: one module for each source.
"""
