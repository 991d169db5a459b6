"""
Makes the gateways known that come with the broker. They are imported when they are wanted.
"""

from twisted_mqtt.extensions.gatewaymakers import GatewayMaker

stomp = GatewayMaker("stomp", "gateways.stomp.service:makeService", "stomp", "gateways.stomp.settings:StompSettings")
mqttsn = GatewayMaker(
    "mqttsn",
    "gateways.mqttsn.service:makeService",
    "mqtt.sn",
    "gateways.mqttsn.settings:MQTTSNSettings",
    ("sn", "mqtt_sn"),
)
coap = GatewayMaker("coap", "gateways.coap.service:makeService", "coap", "gateways.coap.settings:CoAPSettings")
lwm2m = GatewayMaker("lwm2m", "gateways.lwm2m.service:makeService", "lwm2m", "gateways.lwm2m.settings:LwM2MSettings")
