"""
The OpenAPI document as a contract: requests are made of it at random, right ones and wrong ones, and what the broker
answers is what the document says.
"""

from __future__ import annotations

import warnings
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from openapi_spec_validator import validate

from tests.kits.rest import Rest
from twisted_mqtt.management.settings import ManagementSettings

with warnings.catch_warnings():
    # It tells of versions of its own requirements.
    warnings.simplefilter("ignore")
    import requests
    import schemathesis
    from schemathesis import GenerationMode
    from schemathesis.checks import not_a_server_error
    from schemathesis.core.transport import Response
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        negative_data_rejection,
        response_schema_conformance,
        status_code_conformance,
    )

# What is compiled does not change what is answered.
pytestmark = pytest.mark.slow

CHECKS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
#: What is not called here, and why.
LEFT_OUT: Final = {"events": "its answer does not end; test_events.py reads it"}

_document: Final = Rest().call("GET", "/openapi.json").json
_schema: Final = schemathesis.openapi.from_dict(_document)
# Credentials are ours: wrong ones would have all calls refused before anything else is looked at.
_schema.config.generation.update(with_security_parameters=False)
_operations: Final = {found.ok().definition.raw["operationId"]: found.ok() for found in _schema.get_all_operations()}


def canBeWrong(name: str) -> bool:
    """
    Whether an operation takes anything but texts, of which none is wrong by its form.
    """
    raw = _operations[name].definition.raw
    return "requestBody" in raw or any(one["schema"].get("type") != "string" for one in raw["parameters"])


def populated() -> Rest:
    """
    A broker in which there is something of each kind.
    """
    rest = Rest()
    rest.memory.client("client", username="user").subscribe("a/+", "$share/g/b", qos=1)
    rest.memory.client("away", sessionExpiry=1000).disconnect()
    rest.memory.broker.bans.add("bad", "clientid")
    rest.memory.broker.alarms.activate("hot", "warning", "Hot", "82.6")
    return rest


def exchange(rest: Rest, case: Any) -> Response:
    """
    Make the call of a case.
    """
    prepared = requests.Request(**case.as_transport_kwargs(base_url="http://test/api/v4")).prepare()
    body = prepared.body or b""
    headers = {
        name: value if isinstance(value, str) else value.decode("latin-1")
        for name, value in prepared.headers.items()
        if name.lower() not in ("authorization", "content-length", "host", "user-agent", "transfer-encoding")
    }
    answer = rest.call(
        str(prepared.method),
        str(prepared.path_url).removeprefix("/api/v4"),
        body.encode() if isinstance(body, str) else body,
        kind="",
        headers=headers,
    )
    return Response(
        status_code=answer.status,
        headers={name: [value] for name, value in answer.headers.items()},
        content=answer.body,
        request=prepared,
        elapsed=0.0,
        verify=False,
    )


@pytest.mark.parametrize("legacy", [False, True])
def test_valid(legacy: bool) -> None:
    """
    The document is one of OpenAPI 3.1, with either style of statuses.
    """
    rest = Rest(ManagementSettings(status_style="legacy" if legacy else "standard"))
    document = rest.call("GET", "/openapi.json", user=None).json
    validate(document)
    assert document["openapi"].startswith("3.1")


@pytest.mark.parametrize("name", [name for name in _operations if name not in LEFT_OUT])
def test_answers(name: str) -> None:
    """
    Whatever is asked, the answer has a status, a type and a form that the document tells; nothing fails within, and
    nothing is logged as an error.
    """
    ask(name, GenerationMode.POSITIVE, CHECKS)


@pytest.mark.parametrize("name", [name for name in _operations if name not in LEFT_OUT and canBeWrong(name)])
def test_wrong(name: str) -> None:
    """
    What the document does not allow is refused.
    """
    ask(name, GenerationMode.NEGATIVE, [*CHECKS, isRefused])


def ask(name: str, mode: GenerationMode, checks: list[Any]) -> None:
    """
    Make calls of an operation.
    """
    rest = populated()

    @settings(
        max_examples=8,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=_operations[name].as_strategy(generation_mode=mode))
    def asked(case: Any) -> None:
        case.validate_response(exchange(rest, case), checks=checks)

    asked()


def isRefused(context: Any, response: Response, case: Any) -> bool | None:
    """
    The check that wrong requests are refused; a body of more than a megabyte is refused as too large.
    """
    if response.status_code == 413:
        return None
    refused: bool | None = negative_data_rejection(context, response, case)
    return refused
