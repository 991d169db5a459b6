"""
Building blocks that know nothing of a broker: waiting, timers, rates, a log that strangers cannot fill.
"""
