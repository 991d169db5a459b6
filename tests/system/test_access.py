"""
Access rules of a file, as clients meet them.
"""

from pathlib import Path

from tests.system.conftest import StartBroker
from tests.system.paho_peer import Peer


def test_widerThanAllowed(startBroker: StartBroker, tmp_path: Path) -> None:
    """
    A client that may subscribe to one level may not subscribe to all below it.
    """
    rules = tmp_path / "acl.conf"
    rules.write_text('{allow, all, subscribe, ["site/+"]}.\n{deny, all, subscribe, ["#"]}.\n{allow, all}.\n')
    broker = startBroker({"acl_file": str(rules)})
    with Peer(broker, "reader") as reader, Peer(broker, "writer") as writer:
        assert [reader.subscribe(topicFilter, 0) for topicFilter in ("site/+", "site/#", "#")] == [0, 0x87, 0x87]
        for topic in ("site/a/secret", "site/a"):
            writer.publish(topic, b"1", qos=1)
        assert reader.receive().topic == "site/a"
