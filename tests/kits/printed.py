"""
How each block of code in the documents is tried. C{tests/test_documents.py} sees that none is left out;
C{tests/system/test_documents.py} runs them as they are printed, where the broker is installed and the tree is not.
"""

from dataclasses import dataclass
from typing import Final

#: In a namespace of its own.
ALONE: Final = "alone"
#: In the namespace of the document's blocks before it.
CONTINUED: Final = "continued"
#: A part of the template: it stands in the installed package.
TEMPLATE: Final = "shown"
#: A configuration, of which C{twistd mqttbroker --check} has to say that all is well.
CHECKED: Final = "checked"
#: Variables of the environment, for which the same holds.
ENVIRONMENT: Final = "environment"
#: Access rules: a broker starts with them.
RULES: Final = "rules"
#: Not run, for the reason that the table gives.
UNRUN: Final = "not run"


@dataclass(frozen=True)
class Entry:
    """
    How a block is tried.

    @ivar begins: how the block begins.
    @ivar how: one of the words above, or the name of a test that runs blocks together, without C{test_}.
    @ivar before: Python before the block.
    @ivar after: Python after the block.
    @ivar reason: why it is not run.
    """

    begins: str
    how: str
    before: str = ""
    after: str = ""
    reason: str = ""


_MEMORY: Final = (
    "from twisted_mqtt.testing.memory import MemoryBroker\nmemory = MemoryBroker()\nbroker = memory.broker\n"
)
_SERVICE: Final = _MEMORY + "class service:\n    broker = memory.broker\n"
_PACKETS: Final = "from twisted_mqtt.hooks.packets import thisPacket\nfrom twisted_mqtt.hooks.verdicts import "
_GREETER: Final = "from greeter.extension import Greeter, GreeterSettings\n"
_CONTEXT: Final = """
class Own:
    def start(self, context):
        pass
context = memory.harness(Own(), "greeter").context
"""

TABLE: Final[dict[str, list[Entry]]] = {
    "README.md": [
        Entry("make run ", "readme"),
        Entry("pip install .", "readme"),
        Entry("mosquitto_sub -t 'room/#'", "readme"),
        Entry("mosquitto_pub -t room/light", "readme"),
        Entry("coap-client-notls -m put -e on", "readme"),
        Entry("const mqtt =", "readme"),
        Entry("exec 3<>/dev/udp", "readme"),
        Entry("coap-client-notls -m post", "readme"),
        Entry("def loud(", "embedding"),
    ],
    "docs/architecture.md": [Entry("ctl  ", UNRUN, reason="a drawing of the rooms")],
    "docs/configuration.md": [
        Entry("MQTTBROKER__ZONE__", ENVIRONMENT),
        Entry("from twisted_mqtt.config import settingsFrom", ALONE),
    ],
    "docs/extensions.md": [
        Entry("# greeter/extension.py\nclass Greeter:", TEMPLATE),
        Entry("# twisted/plugins/greeter_plugin.py", TEMPLATE),
        Entry("# greeter/extension.py\nclass GreeterSettings", TEMPLATE),
        Entry("from twisted_mqtt.testing.memory", CONTINUED, before=_GREETER, after=_CONTEXT),
        Entry("from twisted_mqtt.testing.recorder", CONTINUED),
        Entry("def prefix(message):", CONTINUED),
        Entry("heard = []", CONTINUED),
        Entry("async def waiting(", CONTINUED),
        Entry("from twisted_mqtt.core.message", CONTINUED),
        Entry("context.callLater(", CONTINUED),
        Entry("from msgspec import Struct", CONTINUED),
        Entry("from twisted.internet.protocol", CONTINUED),
        Entry("from twisted.web.resource", CONTINUED),
        Entry("greeted = context.counter(", CONTINUED),
        Entry("async def load(", CONTINUED),
    ],
    "docs/gateways.md": [
        Entry("[stomp.listener]", CHECKED),
        Entry('[plugins]\nload = ["stomp"]', CHECKED),
        Entry('[plugins]\nload = ["mqttsn"]', CHECKED),
        Entry(
            "mqtt_sn_pub ",
            UNRUN,
            reason="mqtt-sn-tools are in no distribution; tests/system/test_mqttsn.py has other clients",
        ),
        Entry('coap-client-notls -m put -e "qos=0', "coap"),
        Entry("coap-client-notls -N ", "coap"),
        Entry('coap-client-notls -m get -s 10 "coap+tcp', "coap"),
        Entry("mosquitto_sub -t 'lwm2m/ep1/up/#'", "lwm2m"),
        Entry('{"msgType": "register"', "lwm2m"),
        Entry('{"reqID": 2, "msgType": "read", "data"', "lwm2m"),
        Entry('{"reqID": 2, "msgType": "read",\n', "lwm2m"),
        Entry("[lwm2m.bootstrap]", CHECKED),
    ],
    "docs/hooks.md": [
        Entry("def shout(", ALONE, before=_MEMORY),
        Entry(
            _PACKETS + "STOP",
            ALONE,
            before=_MEMORY,
        ),
        Entry(
            _PACKETS + "ALLOW",
            ALONE,
            before=_MEMORY,
        ),
        Entry("from twisted_mqtt.core.topicrules", ALONE, before=_MEMORY),
        Entry("def prefix(", ALONE, before=_MEMORY),
        Entry("from twisted_mqtt.hooks.verdicts import DROP", ALONE, before=_MEMORY),
        Entry("from twisted_mqtt.hooks.verdicts import ALLOW", ALONE, before=_MEMORY),
        Entry("from twisted_mqtt.hooks.verdicts import STOP, AuthResult\n", ALONE, before=_MEMORY),
        Entry("from twisted_mqtt.hooks.verdicts import STOP, AuthResult, Challenge", ALONE, before=_MEMORY),
    ],
    "docs/operations.md": [
        Entry('connected: "dev1"', UNRUN, reason="lines of a log; tests/system/test_client_log.py reads such lines"),
        Entry("import time", ALONE, before=_SERVICE),
        Entry("[listener.tcp.plant]", CHECKED),
        Entry("2026-11-29T08", UNRUN, reason="lines of a trace; tests/system/test_trace.py reads such lines"),
        Entry("service.broker.alarms.active", ALONE, before=_SERVICE),
        Entry("scrape_configs:", "prometheus"),
        Entry('[plugins]\nload = ["management", "graphite", "statsd"]', CHECKED),
        Entry("startupProbe:", UNRUN, reason="a part of a pod; tests/system/test_health.py asks the paths"),
    ],
    "docs/template/README.md": [
        Entry("pip install .", "template"),
        Entry('[plugins]\nload = ["greeter"]', CHECKED),
    ],
    "docs/tls.md": [
        Entry("make certs", "certificates"),
        Entry('[listener.ssl.external]\nbind = "127.0.0.1:8883"', "certificates"),
        Entry("mosquitto_pub -p 8883 --cafile", "certificates"),
        Entry('[listener.ssl.external]\nbind = "0.0.0.0:8883"', CHECKED),
        Entry('[plugins]\nload = ["psk_file"]', "keys"),
        Entry("mosquitto_pub -p 8883 --psk", "keys"),
        Entry("class Keys:", ALONE, before=_MEMORY, after="memory.run(Keys())"),
        Entry("[listener.tcp.internal]", CHECKED),
        Entry("listen mqtts", "balancer"),
    ],
    "docs/topics.md": [
        Entry('{allow, {user, "pump"}', RULES),
        Entry('[plugins]\nload = ["delayed_publish"]', "delayed"),
        Entry("mosquitto_pub -t '$delayed/", "delayed"),
        Entry('{allow, {user, "dashboard"}', RULES),
    ],
}
