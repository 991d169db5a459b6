"""
Building blocks that know nothing of a broker: waiting, timers, rates, a log that remote peers cannot fill.
"""
