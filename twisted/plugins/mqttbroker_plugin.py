"""
Makes C{twistd mqttbroker} known to Twisted. Listing plugins imports this file, so it imports nothing of ours.
"""

from twisted.application.service import ServiceMaker

mqttbroker = ServiceMaker("mqttbroker", "twisted_mqtt.tap", "A multi-protocol IoT broker.", "mqttbroker")
