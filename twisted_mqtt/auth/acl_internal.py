"""
The access rules of the file that C{acl_file} names, or the built-in rules. They are asked last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from twisted.logger import Logger
from zope.interface import implementer

from twisted_mqtt.auth.aclfile import DEFAULT, ACLProblem, Rules, parseRules
from twisted_mqtt.hooks.verdicts import ALLOW, DENY
from twisted_mqtt.interfaces import IExtension

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from twisted_mqtt.core.topicrules import TopicRules
    from twisted_mqtt.hooks.verdicts import Verdict
    from twisted_mqtt.interfaces import IBroker, IClient, IExtensionContext, IPreflight

_log = Logger()

#: After whatever asks a data base or a server.
_PRIORITY: Final = -10


@implementer(IExtension)
class AclInternal:
    """
    The extension C{acl_internal}.
    """

    def __init__(self) -> None:
        self._rules = Rules(())
        self._broker: IBroker

    def start(self, context: IExtensionContext) -> None:
        """
        Read the rules and go by them.

        @raise ACLProblem: they can't be used.
        """
        self._broker = broker = context.broker
        self._rules = _read(broker.settings.acl_file)
        context.hook("client.check_acl", self._check, priority=_PRIORITY, publishRules=self._publishRules)

    def preflight(self, checks: IPreflight) -> None:
        """
        See L{IExtension}.
        """
        checks.attempt(lambda: _read(checks.settings.acl_file))

    def stop(self) -> None:
        """
        Go by them no longer.
        """

    def refresh(self) -> Deferred[None]:
        """
        Read the rules again, as C{acl reload} asks.

        @return: fires when they hold; fails with L{ACLProblem} where they can't be used, and the old ones hold.
        """
        reading = self._broker.threads.defer(_read, self._broker.settings.acl_file)
        return reading.addCallback(self._refreshed)

    def _refreshed(self, rules: Rules) -> None:
        self._rules = rules
        self._broker.forgetPermissions()

    def _check(self, client: IClient, access: str, topic: str, verdict: Verdict) -> Verdict | None:
        decision = self._rules.verdict(client, access, topic)
        return None if decision is None else ALLOW if decision else DENY

    def _publishRules(self, client: IClient) -> TopicRules:
        return self._rules.publishRules(client)


def _read(path: str | None) -> Rules:
    if path is None:
        return parseRules(DEFAULT)
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise ACLProblem(f"{path}: the access rules can't be read: {error}") from None
    return parseRules(text, path)
