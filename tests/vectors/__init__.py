"""
Conformance vectors: what MQTT says a server does, clause by clause, and what puts a broker to that test.
"""
