"""
Makes the extension known. It is imported whenever plugins are looked for, so it imports nothing of the extension.
"""

from twisted_mqtt.extensions.makers import ExtensionMaker

greeter = ExtensionMaker(
    "greeter",
    "greeter.extension:Greeter",
    "Greets clients",
    table="greeter",
    settings="greeter.extension:GreeterSettings",
    distribution="mqttbroker-greeter",
)
