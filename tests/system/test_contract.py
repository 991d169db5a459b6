"""
The OpenAPI document of a real broker, and requests made of it, over HTTP.
"""

from __future__ import annotations

import warnings
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.system.conftest import StartBroker

with warnings.catch_warnings():
    # It tells of versions of its own requirements.
    warnings.simplefilter("ignore")
    import requests
    import schemathesis
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

pytestmark = [pytest.mark.system, pytest.mark.slow]

CHECKS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
#: What is not called here, and why.
LEFT_OUT: Final = {
    "events": "its answer does not end",
    "ctrl_broker": "it stops the broker, or starts it again",
    "update_config_file": "each call starts two processes",
    "stop_listener": "it could be the port that is called",
    "restart_listener": "likewise",
    "unload_plugin": "it could be management",
    "unload_node_plugin": "likewise",
    "reload_plugin": "likewise",
    "reload_node_plugin": "likewise",
    "update_app": "it could be the application that calls",
    "del_app": "likewise",
    "set_config": "it could be the port that is called, at the next start",
    "set_broker_configuration": "likewise",
    "set_log_level": "the log could lack what is looked for in it",
    "log_primary_level": "likewise",
    "set_log_handler_level": "likewise",
}


def test_answers(startBroker: StartBroker) -> None:
    """
    A broker answers what its own document says, whatever it is asked; its log has no traceback.
    """
    broker = startBroker(
        {"plugins": {"load": ["management"]}, "management": {"listener": {"http": {"bind": "127.0.0.1:0"}}}}, 2
    )
    (listening,) = broker.waitFor(r"listening: management:http on 127\.0\.0\.1:(\d+)")
    base = f"http://127.0.0.1:{listening[1]}/api/v4"
    session = requests.Session()
    session.auth = ("admin", "public")
    session.trust_env = False
    schema = schemathesis.openapi.from_dict(session.get(f"{base}/openapi.json", timeout=10).json())
    schema.config.generation.update(with_security_parameters=False)
    operations = [
        found.ok() for found in schema.get_all_operations() if found.ok().definition.raw["operationId"] not in LEFT_OUT
    ]
    assert len(operations) > 50

    @settings(
        max_examples=2,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(data=st.data())
    def ask(data: Any) -> None:
        for operation in operations:
            case = data.draw(operation.as_strategy())
            case.call_and_validate(base_url=base, session=session, checks=CHECKS, timeout=10)

    ask()
    session.close()
    assert "Traceback" not in broker.text
