"""
What is measured. One module a kind of measurement; F{bench/catalogue.py} lists them all.
"""
