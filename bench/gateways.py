"""
C{python -m bench.gateways [stomp] [mqttsn] [coap] [lwm2m]}: the gateways beside other servers of their protocols.

Each has tables of its own, because none of the brokers that the other tables compare with speaks its protocol.
"""

from __future__ import annotations

import argparse
from typing import Any, Final

from bench import coap, lwm2m, mqttsn, stomp
from bench.contest import Contest
from bench.sockets import raiseFileLimit

# Each has servers of a type of its own.
_CONTESTS: Final[dict[str, Contest[Any]]] = {
    "stomp": stomp.CONTEST,
    "mqttsn": mqttsn.CONTEST,
    "coap": coap.CONTEST,
    "lwm2m": lwm2m.CONTEST,
}


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def main() -> None:
    """
    Measure, and print tables.
    """
    parser = argparse.ArgumentParser(prog="python -m bench.gateways", description=__doc__)
    parser.add_argument("gateways", nargs="*", metavar="gateway", help=f"of {', '.join(_CONTESTS)} (default: all)")
    parser.add_argument("--brokers", type=_names, default="", help="names, by commas (default: all that are there)")
    parser.add_argument("--rows", type=_names, default="", help="names, by commas (default: all)")
    parser.add_argument("--rounds", type=int, default=3, help="of which the median counts (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=3.0, help="measured in each run (default: %(default)s)")
    given = parser.parse_args()
    chosen = [_CONTESTS[name] for name in given.gateways or _CONTESTS if name in _CONTESTS]
    for asked, known in (
        (given.gateways, set(_CONTESTS)),
        (given.brokers, {each.name for contest in chosen for each in contest.contenders}),
        (given.rows, {each.name for contest in chosen for each in contest.rows}),
    ):
        if wrong := set(asked) - known:
            parser.error(f"there is no {', '.join(sorted(wrong))}; there are {', '.join(sorted(known))}")
    raiseFileLimit()
    for contest in chosen:
        contest.run(given.brokers, given.rows, given.rounds, given.seconds)


if __name__ == "__main__":
    main()
