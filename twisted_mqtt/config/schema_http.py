"""
The keys of HTTP ports: those of any port, and the limits of requests.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from twisted_mqtt.config.grammar import whole
from twisted_mqtt.config.keys import Duration, Flag, Positive, Size
from twisted_mqtt.config.schema_ports import MaxConnections, TCPPortSettings, TLSPortSettings
from twisted_mqtt.config.values import KB, MB

MaxHead: TypeAlias = Annotated[Size, "Longest request line with its headers; longer ones are answered 414 or 431"]
MaxHeaders: TypeAlias = Annotated[int, whole(1, 1000), "Most headers of a request; more are answered 431"]
MaxBody: TypeAlias = Annotated[Size, "Longest body of a request; longer ones are answered 413"]
HeadTimeout: TypeAlias = Annotated[Duration, "Time for a request line with its headers to arrive, from its first byte"]
BodyTimeout: TypeAlias = Annotated[Duration, "Time for a body to arrive"]
HTTPIdleTimeout: TypeAlias = Annotated[Duration, "How long a connection may wait for its next request"]
MaxRequests: TypeAlias = Annotated[Positive, "Requests after which a connection is closed"]
AccessLog: TypeAlias = Annotated[
    Flag, "Whether requests are logged, without what follows a `?`: 100 lines at once, 20 a second, others are counted"
]


class HTTPSettings(TCPPortSettings, frozen=True, kw_only=True):
    """
    A port of HTTP.
    """

    max_connections: MaxConnections = 512
    max_head: MaxHead = 16 * KB
    max_headers: MaxHeaders = 100
    max_body: MaxBody = MB
    head_timeout: HeadTimeout = 10.0
    body_timeout: BodyTimeout = 60.0
    idle_timeout: HTTPIdleTimeout = 60.0
    max_requests: MaxRequests = 1000
    access_log: AccessLog = False


class HTTPSSettings(TLSPortSettings, frozen=True, kw_only=True):
    """
    A port of HTTPS.
    """

    max_connections: MaxConnections = 512
    max_head: MaxHead = 16 * KB
    max_headers: MaxHeaders = 100
    max_body: MaxBody = MB
    head_timeout: HeadTimeout = 10.0
    body_timeout: BodyTimeout = 60.0
    idle_timeout: HTTPIdleTimeout = 60.0
    max_requests: MaxRequests = 1000
    access_log: AccessLog = False


AnyHTTPSettings: TypeAlias = HTTPSettings | HTTPSSettings
