"""
The limits that a zone sets for its clients: the zone keys that the core applies, as plain numbers.
"""

from __future__ import annotations


class Limits:
    """
    The limits of a zone; one object serves all its clients.

    @ivar maxPacketSize: of packets from clients, in bytes.
    @ivar maxTopicLevels: 0 for no limit.
    @ivar maxTopicAlias: how many aliases a client may set, and how many are set towards it at most; 0 for none.
    @ivar maxInflight: QoS 1 and 2 messages on their way to a client; 0 for what the protocol allows.
    @ivar maxQueue: messages waiting for a client, offline or with its window full; 0 for no limit.
    @ivar maxQueueStored: the same where a store keeps them; -1 for C{maxQueue}.
    @ivar maxQueueOnline: instead of both while the client is connected; -1 for them.
    @ivar maxQueueOffline: instead of both while it is not; -1 for them.
    @ivar maxQueueBytes: of the messages that wait for a client; 0 for no limit.
    @ivar maxAwaitingRel: QoS 2 messages from a client whose PUBREL is awaited; 0 for what the protocol allows.
    @ivar awaitRelTimeout: after how many seconds such a message is forgotten; 0 for never.
    @ivar priorities: of topics in the queue, greater first; others have C{defaultPriority}.
    @ivar ignoreLoop: whether a client's own messages are kept from it, as if by No Local.
    @ivar maxPendingBytes: bytes waiting to be sent to a client before it counts as congested.
    @ivar strict: whether strings with characters that they should not have are refused (1.5.4).
    @ivar keepAliveBackoff: half the number of keep-alive periods after which a silent client is gone.
    """

    __slots__ = (
        "maxPacketSize",
        "maxClientIDLength",
        "maxTopicLevels",
        "maxQoS",
        "maxTopicAlias",
        "retainAvailable",
        "wildcardAvailable",
        "sharedAvailable",
        "maxInflight",
        "maxQueue",
        "maxQueueStored",
        "maxQueueOnline",
        "maxQueueOffline",
        "maxQueueBytes",
        "storeQoS0",
        "priorities",
        "defaultPriority",
        "maxAwaitingRel",
        "awaitRelTimeout",
        "upgradeQoS",
        "ignoreLoop",
        "maxSubscriptions",
        "maxPendingBytes",
        "keepAliveBackoff",
        "strict",
    )

    def __init__(self) -> None:
        self.maxPacketSize: int = 1 << 20
        self.maxClientIDLength: int = 65535
        self.maxTopicLevels: int = 0
        self.maxQoS: int = 2
        self.maxTopicAlias: int = 0
        self.retainAvailable: bool = True
        self.wildcardAvailable: bool = True
        self.sharedAvailable: bool = True
        self.maxInflight: int = 32
        self.maxQueue: int = 1000
        self.maxQueueStored: int = -1
        self.maxQueueOnline: int = -1
        self.maxQueueOffline: int = -1
        self.maxQueueBytes: int = 0
        self.storeQoS0: bool = True
        self.priorities: dict[str, int] = {}
        self.defaultPriority: int = 0
        self.maxAwaitingRel: int = 100
        self.awaitRelTimeout: float = 300.0
        self.upgradeQoS: bool = False
        self.ignoreLoop: bool = False
        self.maxSubscriptions: int = 0
        self.maxPendingBytes: int = 1 << 20
        self.keepAliveBackoff: float = 0.75
        self.strict: bool = False

    def copy(self) -> Limits:
        """
        The same limits, to be changed for one client.
        """
        other = Limits()
        other.maxPacketSize = self.maxPacketSize
        other.maxClientIDLength = self.maxClientIDLength
        other.maxTopicLevels = self.maxTopicLevels
        other.maxQoS = self.maxQoS
        other.maxTopicAlias = self.maxTopicAlias
        other.retainAvailable = self.retainAvailable
        other.wildcardAvailable = self.wildcardAvailable
        other.sharedAvailable = self.sharedAvailable
        other.maxInflight = self.maxInflight
        other.maxQueue = self.maxQueue
        other.maxQueueStored = self.maxQueueStored
        other.maxQueueOnline = self.maxQueueOnline
        other.maxQueueOffline = self.maxQueueOffline
        other.maxQueueBytes = self.maxQueueBytes
        other.storeQoS0 = self.storeQoS0
        other.priorities = self.priorities
        other.defaultPriority = self.defaultPriority
        other.maxAwaitingRel = self.maxAwaitingRel
        other.awaitRelTimeout = self.awaitRelTimeout
        other.upgradeQoS = self.upgradeQoS
        other.ignoreLoop = self.ignoreLoop
        other.maxSubscriptions = self.maxSubscriptions
        other.maxPendingBytes = self.maxPendingBytes
        other.keepAliveBackoff = self.keepAliveBackoff
        other.strict = self.strict
        return other
