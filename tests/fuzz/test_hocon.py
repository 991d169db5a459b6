"""
Long random runs of the reader of HOCON (C{make fuzz}), grown from what NanoMQ's files look like.
"""

import random

from tests.fuzz.test_fuzz import fuzzed
from twisted_mqtt.config.hocon import HOCONError, parse

_SEEDS = (
    'listeners.ssl {\n  # TLS\n  bind = "0.0.0.0:8883"\n  verify_peer = false\n}\n',
    'auth {\n  cache = { max_size = 32, ttl = 1m }\n  password = {include "/etc/pwd.conf"}\n}\n',
    'rules = [\n  {"permit": "allow", "topics": ["$SYS/#", "#"]}\n  {permit = deny},\n]\n',
    'bridges.mqtt.a { server = "mqtt-tcp://127.0.0.1:1883", forwards = [{topic = """x"""}] }\n',
    "a = ${a.b}-${?c} // end\nx : 1.50\n",
)
_PIECES = ("{", "}", "[", "]", "=", ":", ",", '"', '"""', "\\", "${", "#", "//", "\n", "\r\n", ".", "+=", "\x00", "é")


def test_hocon() -> None:
    """
    Any damage is read or refused with a place inside the text, and reading twice gives the same.
    """

    def run(chance: random.Random) -> None:
        text = "".join(chance.choice(_SEEDS) for _ in range(chance.randrange(1, 6)))
        for _ in range(chance.randrange(8)):
            place = chance.randrange(len(text) + 1)
            if chance.random() < 0.5:
                text = text[:place] + chance.choice(_PIECES) * chance.randrange(1, 4) + text[place:]
            else:
                text = text[:place] + text[place + chance.randrange(1, 6) :]
        try:
            document = parse(text, include=lambda file: chance.choice(_SEEDS), variables={"c": "d"})
        except HOCONError as error:
            assert error.line >= 1
            assert error.column >= 1
        else:
            assert {path[0] for path in document.spots} <= document.table.keys()

    fuzzed(run)
