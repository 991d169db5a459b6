"""
The operations that every broker has, a module for each group of the command line.
"""
