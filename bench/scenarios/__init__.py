"""
The scenarios: one module for each kind of measurement; F{bench/catalogue.py} lists them all.
"""
