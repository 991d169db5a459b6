"""
Configurations of other brokers made ours: C{mqttbroker-ctl convert}.
"""
