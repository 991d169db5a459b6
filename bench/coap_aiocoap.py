"""
A server of aiocoap's, for C{bench.coap}: one resource C{/bench} that can be read, written and observed.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import aiocoap
from aiocoap import resource


class Bench(resource.ObservableResource):  # type: ignore[misc]  # aiocoap comes without types
    """
    Keeps what was written last.
    """

    def __init__(self) -> None:
        super().__init__()
        self._content = b""

    async def render_get(self, request: Any) -> Any:
        """
        Answer with it.
        """
        return aiocoap.Message(payload=self._content)

    async def render_put(self, request: Any) -> Any:
        """
        Keep it, and tell those who observe.
        """
        self._content = request.payload
        self.updated_state()
        return aiocoap.Message(code=aiocoap.CHANGED)


async def main(port: int) -> None:
    """
    Serve until the process is ended.
    """
    site = resource.Site()
    site.add_resource(["bench"], Bench())
    await aiocoap.Context.create_server_context(site, bind=("127.0.0.1", port))
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
