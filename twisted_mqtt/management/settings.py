"""
The table C{[management]} (spec/rest-api.md 1.6, section 7).
"""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from msgspec import Struct, field

from twisted_mqtt.config.grammar import Grammar, Unfit, choice, listOf, text, whole
from twisted_mqtt.config.keys import Address, Duration, File, Short
from twisted_mqtt.config.schema_http import HTTPSettings, HTTPSSettings
from twisted_mqtt.config.values import Bind


def _parsePrefix(value: object) -> str:
    prefix = text(value)
    if not re.fullmatch(r"([A-Za-z_:][A-Za-z0-9_:]{0,99})?", prefix):
        raise Unfit
    return prefix


METRIC_PREFIX: Final = Grammar(
    "start of a name", "up to 100 letters, digits, _ and :, of which the first is no digit", _parsePrefix
)


#: What there may be at the ports of management.
MODULES: Final = ("api_v4", "api_v3", "api_v2", "api_v1", "publish", "metrics", "status", "health")


class DefaultApplication(Struct, frozen=True, kw_only=True):
    """
    C{[management.application]}.
    """

    default_id: Annotated[
        str,
        "Identifier of the application that is made when there is none; empty for none. It serves this machine alone",
    ] = "admin"
    default_secret: Annotated[str, "Its secret"] = "public"


class NanoMQAccount(Struct, frozen=True, kw_only=True):
    """
    C{[management.nanomq]} (spec/rest-api-nanomq.md 1, 3.12).
    """

    username: Annotated[str, "User name of the one account of NanoMQ, which may do everything; empty for none"] = ""
    password: Annotated[str, "Its password; with `public`, the account serves this machine alone"] = "public"
    auth_type: Annotated[
        Literal["any", "basic", "jwt"], "What callers of the REST API show: HTTP Basic, a token, or either"
    ] = "any"
    jwt_public_keyfile: Annotated[
        File | None,
        "What tokens (`Authorization: Bearer`) are checked with: a public key or a certificate in PEM, or a file that"
        " holds the secret of an HMAC; `none` for no tokens",
    ] = None
    jwt_leeway: Annotated[Duration, "How far the clock of who makes tokens may be off"] = 5.0
    dialect: Annotated[
        Literal["union", "emqx", "nanomq"], "The form of answers to the account and to who shows a token"
    ] = "nanomq"


class PublishSettings(Struct, frozen=True, kw_only=True):
    """
    C{[management.publish]} (spec/vernemq.md 19, API-10).
    """

    auth: Annotated[
        Literal["on-behalf-of", "predefined"],
        "For whom messages are published that come to `/restmqtt/api/v1/publish`: whom a request names, or one client",
    ] = "on-behalf-of"
    user: Annotated[str, "User name of that client"] = ""
    password: Annotated[str, "Its password"] = ""
    client_id: Annotated[str, "Its client identifier"] = "http"


class ManagementHTTP(HTTPSettings, frozen=True, kw_only=True):
    """
    C{[management.listener.http]}.
    """

    bind: Annotated[Address | None, "Where the REST API listens; `none` for nowhere"] = Bind("127.0.0.1", 8081)


class ManagementHTTPS(HTTPSSettings, frozen=True, kw_only=True):
    """
    C{[management.listener.https]}.
    """

    bind: Annotated[Address | None, "Where the REST API listens with TLS; `none` for nowhere"] = None


class ManagementListeners(Struct, frozen=True, kw_only=True):
    """
    C{[management.listener]}.
    """

    http: Annotated[ManagementHTTP, Short("bind"), "The REST API by HTTP"] = field(default_factory=ManagementHTTP)
    https: Annotated[ManagementHTTPS, Short("bind"), "The REST API by HTTPS"] = field(default_factory=ManagementHTTPS)


class ManagementSettings(Struct, frozen=True, kw_only=True):
    """
    C{[management]}.
    """

    max_row_limit: Annotated[int, whole(1, 100_000), "Most rows of a page of the REST API"] = 10_000
    dialect: Annotated[
        Literal["union", "emqx", "nanomq"],
        "The form of answers: as in EMQ X, as in NanoMQ, or with the fields of both",
    ] = "union"
    status_style: Annotated[
        Literal["standard", "legacy"],
        "Whether a refused call has a status of its own, or 200 and a code as in EMQ X",
    ] = "standard"
    metric_names: Annotated[
        Literal["emqx", "nanomq", "vernemq"], "Whose names metrics have at `/metrics`, which Prometheus reads"
    ] = "vernemq"
    metric_prefix: Annotated[
        str, METRIC_PREFIX, "What these names begin with, such as `site1_`; nothing by default"
    ] = ""
    modules: Annotated[
        tuple[str, ...],
        listOf(choice(MODULES)),
        "What there is at the ports of management: the REST API and the page that describes it (`api_v4`), as EMQ X"
        " had it before (`api_v3`, `api_v2`), commands as VerneMQ has them (`api_v1`), its"
        " HTTP publish (`publish`), metrics for Prometheus, the status page, health",
    ] = ("api_v4", "metrics", "status", "health")
    socket: Annotated[
        str, "The UNIX socket of `mqttbroker-ctl`, in `node.data_dir` unless it is an absolute path; empty for none"
    ] = "ctl.sock"
    application: Annotated[DefaultApplication, "The application that is made at the first start"] = field(
        default_factory=DefaultApplication
    )
    publish: Annotated[PublishSettings, "Messages by HTTP as VerneMQ takes them"] = field(
        default_factory=PublishSettings
    )
    nanomq: Annotated[NanoMQAccount, "The account of NanoMQ, and tokens"] = field(default_factory=NanoMQAccount)
    listener: Annotated[ManagementListeners, "Where the REST API listens"] = field(default_factory=ManagementListeners)


class ControlSocket(HTTPSettings, frozen=True, kw_only=True):
    """
    The UNIX socket of the command line, which only the owner of the process may open.
    """

    bind: Annotated[Address | None, "Where it is"] = None
    mode: Annotated[int, "Who may open it"] = 0o600
