"""
What the operations share: requests of one field, dates, the name of the node.
"""

from __future__ import annotations

from time import localtime, strftime
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct

from twisted_mqtt.operations.operation import NotFound

if TYPE_CHECKING:
    from twisted_mqtt.interfaces import INode

#: A node name in a path.
NodeName = Annotated[str, Meta(description="Name of a node")]
ClientID = Annotated[str, Meta(description="Client identifier")]
Username = Annotated[str, Meta(description="User name")]


class OfNode(Struct, kw_only=True):
    """
    A request about one node.
    """

    node: NodeName


def checkNode(node: INode, name: str) -> None:
    """
    @raise NotFound: the node is not this one.
    """
    if name not in ("", node.broker.nodeName):
        raise NotFound(f"node: there is no node {name[:80]!r}")


def dateText(seconds: float) -> str:
    """
    A date as C{2019-12-18 10:27:24}, in the time zone of this machine; C{""} for none.
    """
    return strftime("%Y-%m-%d %H:%M:%S", localtime(seconds)) if seconds else ""
