"""
The parameters of the message layer: how long it waits, and how much it remembers.
"""

from __future__ import annotations


class Parameters:
    """
    Transmission parameters (RFC 7252 4.8), and how much is remembered.

    @ivar processingDelay: how long a request waits for its response before it is acknowledged without.
    @ivar nstart: how many confirmable messages may be on their way to a peer.
    @ivar maxWaiting: how many messages may wait for those.
    @ivar amplification: how many times the bytes that came from an address may go there, before it has been shown that
        its owner wants them (RFC 7252 11.3).
    @ivar remembered: how many messages are remembered, to know them when they come again; and how many peers.
    """

    def __init__(
        self,
        ackTimeout: float = 2.0,
        ackRandomFactor: float = 1.5,
        maxRetransmit: int = 4,
        nstart: int = 1,
        processingDelay: float = 1.0,
        maxLatency: float = 100.0,
        maxWaiting: int = 200,
        remembered: int = 50_000,
        rememberedBytes: int = 16 << 20,
        amplification: int = 3,
    ) -> None:
        self.ackTimeout = ackTimeout
        self.ackRandomFactor = ackRandomFactor
        self.maxRetransmit = maxRetransmit
        self.nstart = nstart
        self.processingDelay = processingDelay
        self.maxWaiting = maxWaiting
        self.amplification = amplification
        self.remembered = remembered
        self.rememberedBytes = rememberedBytes
        # RFC 7252 4.8.2, with PROCESSING_DELAY as it says: ACK_TIMEOUT.
        span = ackTimeout * (2**maxRetransmit - 1) * ackRandomFactor
        self.exchangeLifetime = span + 2 * maxLatency + ackTimeout
