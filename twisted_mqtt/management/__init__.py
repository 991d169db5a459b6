"""
Management: the operations of the broker, the REST API, the command line, and who may use them (DESIGN.md 11).
"""
