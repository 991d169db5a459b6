"""
Who may come in, and what they may do: one module for each way of knowing.
"""
