"""
An LwM2M device for the examples of C{docs/gateways.md}: it registers as C{ep1} with objects 1 and 3, names its
manufacturer, and tells the time.
"""

import asyncio
import sys
from typing import Any

import aiocoap
from aiocoap.resource import ObservableResource, Resource, Site


class Manufacturer(Resource):
    """
    C{/3/0/0}.
    """

    async def render_get(self, request: Any) -> Any:
        """
        Name it.
        """
        return aiocoap.Message(payload=b"Open Mobile Alliance", content_format=0)


class Time(ObservableResource):
    """
    C{/3/0/13}.
    """

    async def render_get(self, request: Any) -> Any:
        """
        The same time each time.
        """
        return aiocoap.Message(payload=b"1700000000", content_format=0)


async def main(server: str) -> None:
    """
    Register and serve until the end.
    """
    site = Site()
    site.add_resource(["3", "0", "0"], Manufacturer())
    site.add_resource(["3", "0", "13"], Time())
    context = await aiocoap.Context.create_server_context(site, bind=("127.0.0.1", 0), transports=["udp6"])
    uri = f"coap://{server}/rd?ep=ep1&lt=300&lwm2m=1.1&b=U"
    request = aiocoap.Message(code=aiocoap.POST, uri=uri, payload=b"</1/0>,</3/0>", content_format=40)
    answer = await context.request(request).response
    print("registered" if answer.code.is_successful() else answer, flush=True)
    await asyncio.Event().wait()


asyncio.run(main(sys.argv[1]))
