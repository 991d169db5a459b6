"""
Rates: how long a client that exceeds its rate has to wait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twisted_mqtt.config.values import RateLimit


class TokenBucket:
    """
    Fills at a rate up to a burst. It may be overdrawn: what has come already can't be sent back, so whoever took it
    waits until the debt is paid.
    """

    __slots__ = ("_at", "_burst", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        """
        @param rate: what flows in, per second.
        @param burst: what the bucket holds; it is full at first.
        """
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._at = now

    def take(self, amount: float, now: float) -> float:
        """
        Take something out.

        @return: for how many seconds nothing more may be taken; 0 if it was there.
        """
        # A clock that was set back brings nothing, and costs nothing.
        self._tokens = min(self._burst, self._tokens + max(0.0, now - self._at) * self._rate) - amount
        self._at = now
        return -self._tokens / self._rate if self._tokens < 0.0 else 0.0

    def wait(self, amount: float, now: float) -> float:
        """
        For how many seconds so much is not there yet; 0 if it is.
        """
        self.take(0.0, now)
        short = amount - self._tokens
        # So much is lost where a moment is told in seconds since the epoch.
        return short / self._rate if short > 1e-6 * self._rate else 0.0

    def takeIfThere(self, amount: float, now: float) -> bool:
        """
        Take something out if so much is there; returns whether it was. For what can be refused.
        """
        if self.wait(amount, now):
            return False
        self._tokens -= amount
        return True


def bucketOf(limit: RateLimit, now: float) -> TokenBucket:
    """
    A full bucket for a limit of the configuration.
    """
    return TokenBucket(limit.perSecond, float(limit.burst), now)
