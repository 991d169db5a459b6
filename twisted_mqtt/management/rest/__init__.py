"""
The REST API: operations as calls of HTTP (spec/rest-api.md, spec/rest-api-nanomq.md).
"""
