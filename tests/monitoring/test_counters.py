"""
Tests for L{twisted_mqtt.core.counters}.
"""

from twisted_mqtt.core.counters import ATTRIBUTES, NAMES, Counters

# As the command line's table of the specification has them, and what becomes of connections.
GROUPS = """
actions.: success
rules.: matched
bytes.: received sent
client.: auth.anonymous authenticate check_acl connack connect connected disconnected subscribe unsubscribe
client.: keepalive_timeout
connections.: closed closed.overload connect_timeout error opened refused.access refused.banned refused.full
delivery.: dropped dropped.expired dropped.memory dropped.no_local dropped.qos0_msg dropped.queue_full dropped.too_large
delivery.: dropped.session_ended dropped.unsendable offered
messages.: acked delayed delivered dropped dropped.expired dropped.no_subscriber forward publish qos0.received qos0.sent
messages.: dropped.invalid qos1.received qos1.sent qos2.received qos2.sent received retained sent
packets.: received sent too_large
packets.auth.: received sent
packets.connack.: auth_error error sent
packets.connect.: received
packets.disconnect.: received sent
packets.pingreq.: received
packets.pingresp.: sent
packets.puback.: inuse missed received sent
packets.pubcomp.: inuse missed received sent
packets.publish.: auth_error dropped error received sent
packets.pubrec.: inuse missed received sent
packets.pubrel.: missed received sent
packets.suback.: sent
packets.subscribe.: auth_error error received
packets.unsuback.: sent
packets.unsubscribe.: error received
session.: loaded
session.: created discarded resumed takeovered terminated
"""


def test_names() -> None:
    """
    There are the eighty metrics of the specification and sixteen that VerneMQ has or are our own, in alphabetical
    order.
    """
    expected = [
        group + name
        for group, names in (line.split(": ") for line in GROUPS.split("\n") if line)
        for name in names.split()
    ]
    assert len(expected) == 96
    assert list(NAMES) == sorted(expected)


def test_attributes() -> None:
    """
    Each has an attribute of its own, which is counted from nought.
    """
    counters = Counters()
    assert set(counters.read().values()) == {0}
    for number, attribute in enumerate(ATTRIBUTES.values(), 1):
        setattr(counters, attribute, number)
    assert list(counters.read().items()) == list(zip(NAMES, range(1, 97), strict=True))
