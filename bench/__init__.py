"""
The benchmark suite: this broker and others, in turn, on one machine, driven by one generator.

Run it with C{python -m bench}; it writes F{docs/performance.md}. Nothing here is imported by the product.
"""
