"""
The command line, C{mqttbroker-ctl}: operations as commands (spec/cli.md).
"""
