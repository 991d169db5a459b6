"""
Health: whether the process works, and whether it takes clients (spec/vernemq.md 18, MON-11; 26.1).

A process that works and does not take clients, because it starts, stops, or its store has failed, is alive and not
ready: restarting it would not help.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twisted_mqtt.interfaces import INode


def reasons(node: INode) -> list[str]:
    """
    Why no clients are to be sent here; none if they are.
    """
    found = node.broker.obstacles()
    if node.state == "starting":
        found.append("The node is starting")
    elif node.state == "stopping" and not node.broker.stopping:
        found.append("The node is about to shut down")
    return [*found, *listenerReasons(node)]


def listenerReasons(node: INode) -> list[str]:
    """
    Which ports for clients do not listen.
    """
    closed = [name for name, port in node.ports.items() if port.kind not in ("http", "https") and not port.isOpen]
    return [f"Listeners are not ready: [{', '.join(closed)}]"] if closed else []
