"""
The server accounts that a bootstrap server writes to devices: one instance of the Security object and one of the Server
object for each server (LwM2M 1.1.1 core, appendix E.1 and E.2). Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from gateways.lwm2m.errors import ContentError
from gateways.lwm2m.formats.entries import ResourceValue
from gateways.lwm2m.formats.values import BOOLEAN, INTEGER, OPAQUE, STRING
from gateways.lwm2m.objects.paths import Path

if TYPE_CHECKING:
    from gateways.lwm2m.settings import LwM2MBootstrap, LwM2MBootstrapEndpoint

SECURITY: Final = 0
SERVER: Final = 1

# Security modes (E.1).
_PRE_SHARED_KEY: Final = 0
_NO_SECURITY: Final = 3


class Account(NamedTuple):
    """
    The data about a server that a device needs.

    @ivar key: the pre-shared one; empty for a server without DTLS.
    @ivar lifetime: of registrations, in seconds.
    """

    uri: str
    identity: bytes
    key: bytes
    shortServerID: int
    lifetime: int
    binding: str

    def __repr__(self) -> str:
        return f"<account at {self.uri}>"  # the key is nobody's business

    def security(self, instance: int) -> list[ResourceValue]:
        """
        As an instance of the Security object.
        """
        path: Path = (SECURITY, instance)
        return [
            ResourceValue((*path, 0), STRING, self.uri),
            ResourceValue((*path, 1), BOOLEAN, False),
            ResourceValue((*path, 2), INTEGER, _PRE_SHARED_KEY if self.key else _NO_SECURITY),
            ResourceValue((*path, 3), OPAQUE, self.identity),
            ResourceValue((*path, 4), OPAQUE, b""),
            ResourceValue((*path, 5), OPAQUE, self.key),
            ResourceValue((*path, 10), INTEGER, self.shortServerID),
        ]

    def server(self, instance: int) -> list[ResourceValue]:
        """
        As an instance of the Server object.
        """
        path: Path = (SERVER, instance)
        return [
            ResourceValue((*path, 0), INTEGER, self.shortServerID),
            ResourceValue((*path, 1), INTEGER, self.lifetime),
            ResourceValue((*path, 6), BOOLEAN, True),
            ResourceValue((*path, 7), STRING, self.binding),
        ]


class Accounts:
    """
    Finds the accounts for each device.

    @ivar problems: what is wrong with the settings; a device that this is about gets none.
    """

    def __init__(self, settings: LwM2MBootstrap, find: Callable[[bytes], bytes | None]) -> None:
        """
        @param find: looks the pre-shared key of an identity up.
        """
        self._settings = settings
        self._find = find
        self.problems = [
            f"lwm2m.bootstrap.endpoint.{name}.servers: there is no lwm2m.bootstrap.server.{server}"
            for name, endpoint in settings.endpoint.items()
            for server in endpoint.servers
            if server not in settings.server
        ]
        used: dict[int, str] = {}
        for name, each in settings.server.items():
            other = used.setdefault(each.short_server_id, name)
            if other != name:
                self.problems.append(
                    f"lwm2m.bootstrap.server.{name}.short_server_id: {each.short_server_id} is that of {other} too"
                )

    def identityOf(self, name: str) -> bytes:
        """
        The identity of a device's pre-shared key: that of its table, or its name.
        """
        return (self._endpoint(name).identity or name).encode("utf-8")

    def of(self, name: str) -> list[Account]:
        """
        The accounts of a device.

        @raise ContentError: there is none for it, or not the key that one needs.
        """
        endpoint = self._endpoint(name)
        servers = self._settings.server
        wanted = endpoint.servers or tuple(servers)
        if not wanted or not all(server in servers for server in wanted):
            raise ContentError("there is no server for this device")
        if len({servers[server].short_server_id for server in wanted}) < len(wanted):
            raise ContentError("two servers for this device have one number")
        accounts: list[Account] = []
        for server in map(servers.__getitem__, wanted):
            identity, key = b"", b""
            if server.uri.startswith("coaps:"):
                identity = self.identityOf(name)
                key = bytes.fromhex(endpoint.key) or self._find(identity) or b""
                if not key:
                    raise ContentError("there is no key for this device")
            accounts.append(
                Account(server.uri, identity, key, server.short_server_id, int(server.lifetime), server.binding)
            )
        return accounts

    def _endpoint(self, name: str) -> LwM2MBootstrapEndpoint:
        found = self._settings.endpoint.get(name)
        return self._settings.others if found is None else found
