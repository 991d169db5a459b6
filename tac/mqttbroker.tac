"""
The broker as an application: C{twistd -ny tac/mqttbroker.tac}. The settings stand here, named like the keys of the
configuration file; the environment overrides them as it does there.
"""

from os import environ

from twisted.application.service import Application
from twisted.internet import reactor

from twisted_mqtt.config import settingsFrom
from twisted_mqtt.node.service import makeBrokerService

settings = settingsFrom({"listener": {"tcp": {"external": {"bind": "127.0.0.1:1883"}}}}, environ)

application = Application("mqttbroker")
makeBrokerService(settings, reactor).setServiceParent(application)
