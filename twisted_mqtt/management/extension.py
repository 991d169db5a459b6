"""
The extension C{management}: the operations of the broker, the REST API and the socket of the command line.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from zope.interface import implementer

from twisted_mqtt.config.values import Bind
from twisted_mqtt.interfaces import IExtension
from twisted_mqtt.management.applications import Application, Applications
from twisted_mqtt.management.browsing import DocumentPage
from twisted_mqtt.management.builtin.applications import ApplicationOperations
from twisted_mqtt.management.builtin.looking import eventOperation
from twisted_mqtt.management.catalogue import builtin
from twisted_mqtt.management.control import ControlAPI
from twisted_mqtt.management.events import EventHub
from twisted_mqtt.management.pages import Health, MetricsPage, StatusJSON, StatusPage
from twisted_mqtt.management.rest.accounts import Account, Tokens, readKey
from twisted_mqtt.management.rest.commands import CommandAPI
from twisted_mqtt.management.rest.credentials import Credentials
from twisted_mqtt.management.rest.cursors import Cursors
from twisted_mqtt.management.rest.older import V2API, V3API
from twisted_mqtt.management.rest.publishing import PublishAPI
from twisted_mqtt.management.rest.resource import RestAPI
from twisted_mqtt.management.settings import ControlSocket

if TYPE_CHECKING:
    from twisted_mqtt.interfaces import IExtensionContext, IPreflight
    from twisted_mqtt.management.settings import ManagementSettings


#: Seconds after which what is shown of the operations is made: the other extensions have started by then.
_PREPARE: Final = 2.0


@implementer(IExtension)
class Management:
    """
    See the module.
    """

    def __init__(self, settings: ManagementSettings) -> None:
        self._settings = settings
        self._context: IExtensionContext | None = None
        self._tokens: Tokens | None = None
        # Where there is a file, it is read again with the configuration.
        self.refresh = None if settings.nanomq.jwt_public_keyfile is None else self.refreshKey

    def preflight(self, checks: IPreflight) -> None:
        """
        See L{IExtension}.
        """
        path = self._settings.nanomq.jwt_public_keyfile
        if path is not None:
            checks.attempt(lambda: readKey(path))

    async def refreshKey(self) -> None:
        """
        Read the key of tokens again.

        Fails with L{TokenKeyProblem<twisted_mqtt.base.webtokens.TokenKeyProblem>} where it can't be used; the old one
        is used on.
        """
        path = self._settings.nanomq.jwt_public_keyfile
        if self._context is not None and self._tokens is not None and path is not None:
            self._tokens.key = await self._context.broker.threads.defer(readKey, path)

    async def start(self, context: IExtensionContext) -> None:
        """
        Register the operations, and open the ports.

        Fails with what opening a port of the REST API fails with. That of the command line is an alarm and no more.
        """
        settings, node = self._settings, context.node
        # What the tables of extensions may hold is found out once, which takes 25 ms: now, while nobody waits for it.
        for _ in node.settings.entries():
            pass
        for operation in builtin():
            context.operation(operation)
        context.operation(eventOperation(EventHub(context)))
        records = context.table("applications").records(Application)
        applications = Applications(records, context.broker.threads, context.clock, context.broker.dates.now)
        for operation in ApplicationOperations(applications).all():
            context.operation(operation)
        first = settings.application
        if first.default_id and not len(records):
            await applications.add(
                first.default_id, "Default", first.default_secret, "made at the first start", default=True
            )
        nanomq = settings.nanomq
        self._context = context
        if nanomq.auth_type != "basic" and nanomq.jwt_public_keyfile is not None:
            key = await context.broker.threads.defer(readKey, nanomq.jwt_public_keyfile)
            self._tokens = Tokens(key, nanomq, context.broker.dates.now)
        basic = nanomq.auth_type != "jwt"
        credentials = Credentials(applications, context.clock, Account(nanomq) if basic else None, self._tokens, basic)
        cursors = Cursors(context.clock)
        context.addCleanup("cursors are over", cursors.close)
        api, api3 = (
            kind(
                node.operations,
                node,
                credentials,
                cursors,
                dialect=settings.dialect,
                mostRows=settings.max_row_limit,
                legacyStatus=settings.status_style == "legacy",
            )
            for kind in (RestAPI, V3API)
        )
        context.callLater(_PREPARE, api.prepare)
        await node.http.declare(
            "management",
            {"http": settings.listener.http, "https": settings.listener.https},
            "management.listener",
        )
        metrics = MetricsPage(node, credentials, settings.metric_names, settings.metric_prefix)
        for module, path, resource in (
            ("api_v4", "/api/v4", api),
            ("api_v4", "/api/v4/operations", ControlAPI(node.operations, node, credentials)),
            ("api_v4", "/api-docs", DocumentPage()),
            ("api_v3", "/api/v3", api3),
            ("api_v2", "/api/v2", V2API(node.operations, node, credentials)),
            ("publish", "/restmqtt/api/v1/publish", PublishAPI(node.broker, credentials, settings.publish)),
            ("api_v1", "/api/v1", CommandAPI(node.operations, node, credentials)),
            ("metrics", "/metrics", metrics),
            ("status", "/status", StatusPage(node, credentials)),
            ("status", "/status.json", StatusJSON(node, credentials)),
            ("health", "/health", Health(node)),
        ):
            if module in settings.modules:
                await context.mount("management", path, resource)
        await self._listenForCommands(context)

    async def _listenForCommands(self, context: IExtensionContext) -> None:
        settings, node = self._settings, context.node
        if not settings.socket:
            return
        path = Path(node.broker.settings.node.data_dir, settings.socket).absolute()
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            await node.http.declare("ctl", {"socket": ControlSocket(bind=Bind(path=str(path)))}, "management")
            await context.mount("ctl", "/operations", ControlAPI(node.operations, node))
        except Exception as error:
            context.log.warn("mqttbroker-ctl can't be used: {path}: {error}", path=str(path), error=error)
