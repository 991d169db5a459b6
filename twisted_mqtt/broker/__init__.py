"""
The broker: policy above the core, without any transport.
"""
