"""
Protocols that are not MQTT, each a package of its own; they meet in the broker and never import one another.
"""
