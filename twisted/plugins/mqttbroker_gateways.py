"""
Makes the gateways known that come with the broker. They are imported when they are wanted.
"""

from twisted_mqtt.extensions.makers import ExtensionMaker

stomp = ExtensionMaker(
    "stomp",
    "gateways.stomp.extension:StompExtension",
    "STOMP Gateway",
    table="stomp",
    settings="gateways.stomp.settings:StompSettings",
    distribution="twisted-mqtt",
    gateway=True,
)
mqttsn = ExtensionMaker(
    "mqttsn",
    "gateways.mqttsn.extension:MQTTSNExtension",
    "MQTT-SN Gateway",
    table="mqtt.sn",
    settings="gateways.mqttsn.settings:MQTTSNSettings",
    aliases=("sn", "mqtt_sn"),
    distribution="twisted-mqtt",
    gateway=True,
)
coap = ExtensionMaker(
    "coap",
    "gateways.coap.extension:CoAPExtension",
    "CoAP Gateway",
    table="coap",
    settings="gateways.coap.settings:CoAPSettings",
    distribution="twisted-mqtt",
    gateway=True,
)
lwm2m = ExtensionMaker(
    "lwm2m",
    "gateways.lwm2m.extension:LwM2MExtension",
    "LwM2M Gateway",
    table="lwm2m",
    settings="gateways.lwm2m.settings:LwM2MSettings",
    distribution="twisted-mqtt",
    gateway=True,
)
