"""
The result of reading the configuration again.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class ReloadReport:
    """
    The outcome of a reload: what was done, what was not, and why. Each entry is a line for a person.

    @ivar done: what holds from now on.
    @ivar restart: what waits for a restart.
    @ivar problems: what is wrong; where the file itself is, nothing was done at all.
    """

    done: list[str] = field(default_factory=list)
    restart: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def successful(self) -> bool:
        """
        Whether nothing is wrong.
        """
        return not self.problems
