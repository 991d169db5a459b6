"""
Makes the gateways known that come with the broker. They are imported when they are wanted.
"""

from twisted_mqtt.extensions.gatewaymakers import GatewayMaker

stomp = GatewayMaker("stomp", "gateways.stomp.service:makeService")
mqttsn = GatewayMaker("mqttsn", "gateways.mqttsn.service:makeService")
coap = GatewayMaker("coap", "gateways.coap.service:makeService")
lwm2m = GatewayMaker("lwm2m", "gateways.lwm2m.service:makeService")
