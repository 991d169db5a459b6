"""
The limit of files and sockets that the process may have open.
"""

from __future__ import annotations

try:
    import resource
except ImportError:
    # On systems without such a limit.
    HAVE_LIMIT = False
else:
    HAVE_LIMIT = True

SPARE = 100
"""
Files that are open for other reasons than connections: logs, stores, listeners, outside systems.
"""


def raiseLimit(wanted: int | None) -> int | None:
    """
    Raise the limit as far as the system allows.

    @param wanted: how many; L{None} for as many as there can be without asking for more than the process was given.

    @return: the limit now; L{None} for none.
    """
    if not HAVE_LIMIT:
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if soft == unlimited:
        return None
    if wanted is None:
        wanted = hard
    if _isMore(wanted, soft):
        # Only a privileged process may raise what it was given, and none beyond what the kernel can.
        for limits in ((wanted, wanted if _isMore(wanted, hard) else hard), (hard, hard)):
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            except (OSError, ValueError):
                continue
            break
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return None if soft == unlimited else soft


def _isMore(one: int, other: int) -> bool:
    """
    Compare limits, of which one may be infinite.
    """
    infinity = resource.RLIM_INFINITY
    if other == infinity:
        return False
    return one == infinity or one > other
