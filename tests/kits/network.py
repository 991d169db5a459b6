"""
A network of one machine, with nothing in it: what a document prints about port 1883 can be run as it is printed,
whatever else listens on this machine.
"""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

#: Addresses that the documents use in examples, which the machine of the network has.
ADDRESSES: Final = ("192.0.2.1", "10.0.0.2")

_SET_UP: Final = "; ".join(
    [
        "set -e",
        "ip link set lo up multicast on",
        *(f"ip address add {address}/32 dev lo" for address in ADDRESSES),
        "ip route add 224.0.0.0/4 dev lo",
        "echo ready",
        # Until the test ends.
        "exec cat",
    ]
)


class Network:
    """
    A network namespace of Linux.
    """

    def __init__(self) -> None:
        """
        @raise OSError: this system, or this user, has none; the text says why.
        """
        # Without privilege, a namespace of users in which one is root is what gives the right to the other.
        self._user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        environment = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
        self._process = subprocess.Popen(
            ["unshare", *self._user, "--net", "sh", "-c", _SET_UP],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self._process.stdout is not None and self._process.stderr is not None
        if self._process.stdout.readline() != b"ready\n":
            reason = self._process.stderr.read().decode().strip()
            self.close()
            raise OSError(f"no network namespace: {reason}")

    def command(self, words: Sequence[str | Path]) -> list[str | Path]:
        """
        The command that runs C{words} in this network.
        """
        user = ["--user", "--preserve-credentials"] if self._user else []
        return ["nsenter", "--target", str(self._process.pid), *user, "--net", "--", *words]

    def close(self) -> None:
        """
        Let it go; what still runs in it keeps it.
        """
        self._process.communicate(timeout=30)
