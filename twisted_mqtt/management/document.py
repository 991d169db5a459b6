"""
Writes docs/management.md: C{python -m twisted_mqtt.management.document}; C{make docs} calls it.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING, Final

from twisted_mqtt.management.catalogue import declared
from twisted_mqtt.management.describe import parametersOf

if TYPE_CHECKING:
    from collections.abc import Iterator

    from twisted_mqtt.operations.operation import Operation

TESTS: Final = Path(__file__).parents[2] / "tests"
FILE: Final = Path(__file__).parents[2] / "docs" / "management.md"

_HEAD: Final = """\
# Management

<!-- Written by python -m twisted_mqtt.management.document; a test fails when it is stale. -->

The extension `management` lets programs and people look at a broker and steer it while it runs. `etc/mqttbroker.toml`
loads it; its keys are in [configuration.md](configuration.md).

- **REST**: `http://127.0.0.1:8081/api/v4/`, in the manner of EMQ X 4.0 with the calls of NanoMQ. `GET /api/v4/` lists
  the calls of this broker, `GET /api/v4/openapi.json` describes them (OpenAPI 3.1), and
  <http://127.0.0.1:8081/api-docs/> shows that to a person, and makes calls. The page asks nobody but the broker. Each
  call needs HTTP Basic with an application and its secret. The application `admin` with the secret `public` is made at
  the first start and serves this machine alone: make others with `mqttbroker-ctl mgmt insert`, which shows the secret
  this once; the broker keeps a hash. What serves this machine alone is called as `localhost` or by a loopback address
  (`http://localhost:8081`), and no page of another site in a browser may call anything; a proxy in front passes on the
  header `Host`. A change is answered when it is on disk (`persistence.commit`). An event stream ends when its
  application is removed, switched off or expires.
- **`mqttbroker-ctl`** (`pip install 'twisted-mqtt[management]'`): the same as commands, through the UNIX socket
  `ctl.sock` in the data folder, which only the owner of the broker may open. `--config FILE` says where that is;
  `--url` calls a broker on another machine, as an application. [cli.md](cli.md) has the rest.
- **Metrics**: `/metrics` on the same port for Prometheus, with VerneMQ's names; `/api/v4/emqx_prometheus` and
  `/api/v4/prometheus` have those of EMQ X and NanoMQ. From other machines it needs an application that may read. Who
  accepts OpenMetrics and no plain text gets that; Prometheus accepts both, and gets the names without `_total`.
- **Events**: `GET /api/v4/events` goes on for as long as the caller listens and tells, as server-sent events, of
  clients that come and go, of subscriptions and of alarms; `types`, `clientid` and `topic` choose, and with
  `types=message.publish` it shows messages. At most 100 may look on. Who reads slowly loses the oldest events beyond
  1,000 or a megabyte, and is told how many; who reads nothing for `send_timeout` is disconnected.
- **Health**: `/health` answers 200 while clients are to be sent here, else 503 with the reasons; `/health/ping` says
  whether the process works, `/health/listeners` whether its ports are open. Anybody may ask. `/status` is a
  page for people, see [operations.md](operations.md#health).

An application may do what its scopes say: `read`, `write`, `publish`; `admin` is everything. Five wrong secrets from an
address make it wait, longer each time. Lists take `_page` and `_limit`, and answer how many rows there are in `meta`.
Pages are counted anew with each call, so a row moves to another page when clients come or go meanwhile. To read a whole
list while it changes, begin with `?_cursor=` and go on with the cursor that `meta` has, until that is `null`: nothing
is shown twice, and what is there all the time is shown. A cursor serves for two minutes; the last page can be asked for
once more. A refused call answers with a status of 400 or more and `{"code": ..., "message": ...}`, which names the
field at fault; with `management.status_style = "legacy"` the status is 200, as in EMQ X.

Besides applications there may be the one account of NanoMQ, and whoever shows a JSON Web Token: `Authorization:
Bearer TOKEN`, checked with the key of `management.nanomq.jwt_public_keyfile` (RSA, elliptic curves, Ed25519, or the
secret of an HMAC, of 32 bytes at least; it needs `pip install 'twisted-mqtt[management]'`). Both may do everything; a
token with the claim `scope` or `scopes` may do what that says. `exp` and `nbf` are heeded; an expired token is answered
401 with the code 116. The key is read again with the configuration.

`api_v3` and `api_v2` in `management.modules` are the APIs of EMQ X before 4.0, at `/api/v3/` (`connections` for
`clients`, `client_id` for `clientid`) and `/api/v2/` (`{"code": 0, "result": ...}`, pages by `curr_page` and
`page_size`), with the same credentials.

With `api_v1` in `management.modules`, every command is a call of VerneMQ's API too: the words are the path, what
follows is the query. `session disconnect client-id=a --cleanup` is `GET
/api/v1/session/disconnect?client-id=a&--cleanup`. An API key (`mqttbroker-ctl api-key create`) is the user name,
without a password. Rows come as `{"type": "table", "table": [...]}`, anything else as `{"type": "text", "text": ...}`.

With `publish` in `management.modules`, `POST` or `PUT /restmqtt/api/v1/publish` takes a message as VerneMQ does:
`topic`, `payload`, `qos`, `retain`, `user`, `password`, `client_id`, `user_properties` in an object of JSON; or
without the last in headers or the query, with the payload as the body; `?encoding=base64` for a payload in
Base64. The key needs the scope `publish`. The user has to be one who may connect, and access rules are asked for it.

Answers have the fields of EMQ X and of NanoMQ. In a dialect, `emqx` or `nanomq`, they have those of its own document
alone: `management.dialect` is that of the broker, and a request chooses another by the header `X-Api-Dialect`.

Extensions add their own calls and commands, see [extensions.md](extensions.md).

## Operations

The last column names a test below `tests/` that shows the operation.

| operation | may be called by | REST, below `/api/v4` | command | shown by |
|---|---|---|---|---|
"""


def document() -> str:
    """
    The text of docs/management.md.
    """
    tests = shown(TESTS)
    rows = "".join(f"{row}\n" for operation in declared() for row in _rows(operation, tests.get(operation.name, [])))
    return _HEAD + rows


def shown(folder: Path) -> dict[str, list[str]]:
    """
    The tests that show each operation, as C{management/test_clients.py::test_kick}: they are marked with
    C{@pytest.mark.shows("kickout_client")}.
    """
    found: dict[str, list[str]] = {}
    for file in sorted(folder.rglob("test_*.py")):
        text = file.read_text(encoding="utf-8")
        if "mark.shows(" not in text:
            continue
        for test in ast.walk(ast.parse(text)):
            if isinstance(test, ast.FunctionDef):
                for name in _marks(test):
                    found.setdefault(name, []).append(f"{file.relative_to(folder).as_posix()}::{test.name}")
    return found


def _marks(test: ast.FunctionDef) -> Iterator[str]:
    for mark in test.decorator_list:
        if isinstance(mark, ast.Call) and isinstance(mark.func, ast.Attribute) and mark.func.attr == "shows":
            yield from (str(name.value) for name in mark.args if isinstance(name, ast.Constant))


def _rows(operation: Operation, tests: list[str]) -> Iterator[str]:
    calls = "<br>".join(f"`{route.method} {route.path}`" for route in operation.routes)
    commands = "<br>".join(f"`{words}`" for words in _commands(operation))
    by = "<br>".join(f"`{test}`" for test in tests)
    yield f"| {operation.summary} | {operation.role} | {calls} | {commands} | {by} |"


def _commands(operation: Operation) -> Iterator[str]:
    required = {parameter.name for parameter in parametersOf(operation.request) if parameter.required}
    words = [f"<{name}>" if name in required else f"[<{name}>]" for name in operation.positional]
    if operation.words:
        yield " ".join([operation.words, *words])
    yield from operation.aliases


if __name__ == "__main__":
    FILE.write_text(document(), encoding="utf-8")
