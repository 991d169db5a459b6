"""
A broker in a Twisted program of your own, beside a service that it had before: here a web page.
"""

import os
import sys

from twisted.application import service, strports
from twisted.internet import reactor
from twisted.python.log import startLogging
from twisted.web.resource import Resource
from twisted.web.server import Site
from twisted.web.static import Data

from twisted_mqtt.config import settingsFrom
from twisted_mqtt.node.service import makeBrokerService

startLogging(sys.stdout)
services = service.MultiService()
pages = Resource()
pages.putChild(b"", Data(b"still here\n", "text/plain"))
strports.service("tcp:0:interface=127.0.0.1", Site(pages), reactor).setServiceParent(services)

settings = settingsFrom({"listener": {"tcp": {"external": {"bind": "127.0.0.1:1883"}}}}, os.environ)
node = makeBrokerService(settings, reactor)
node.setServiceParent(services)

services.startService()
reactor.addSystemEventTrigger("before", "shutdown", services.stopService)
reactor.run()
