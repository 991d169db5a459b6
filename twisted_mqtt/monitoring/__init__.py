"""
Monitoring: the information that the broker publishes about itself.
"""
