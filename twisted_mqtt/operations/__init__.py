"""
Operations of management: what can be asked of a node, each declared once, and the registry of those that it has.

The REST API, the command line, the VerneMQ-style API, the OpenAPI document and docs/management.md are made from it.
"""
