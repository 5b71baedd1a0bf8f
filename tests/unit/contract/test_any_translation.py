"""Whatever a client of a translated API sends is a filled request or one clear error: each part of a rich request in
turn is taken away, and replaced by everything that it may not be.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelkit.contract import body as json_body
from modelkit.contract.errors import ContractError
from modelkit.contract.middleware import FILLERS, TRANSLATED, Contract
from tests.unit.contract.asgi import Application, call
from tests.unit.contract.profiles import FULL, llama, with_tool_parser
from tests.unit.contract.rich_requests import BODIES, places, with_part, without_part
from tests.unit.contract.test_any_body import VALUES

PROFILE = with_tool_parser(FULL)
WRONG = (None, True, -1, 1.5, 10**30, "", "x", "\ud800", [], [None], [1], ["x"], [[]], [{}], {}, {"x": 1},
         {"type": "x"}, {"type": "text"}, {"type": 3}, {"type": None}, [{"type": "message"}], {"role": "user"},
         {"type": []})


def refusal(path: str, body: Any, profile: Any = PROFILE) -> ContractError | None:
    """Why a request is not passed on; None for one that is, as the contract's."""
    api = TRANSLATED[path]
    try:
        translated = api.request(json_body.read(json.dumps(body).encode()), profile)
        filled = FILLERS[api.inner][0](translated.body, profile)
        json_body.write(filled)
    except ContractError as error:
        return error
    assert filled["messages"]
    return None


@pytest.mark.parametrize("path", BODIES)
def test_every_part_may_be_missing_or_wrong(path: str) -> None:
    for at in places(BODIES[path]):
        changed = [with_part(BODIES[path], at, wrong) for wrong in WRONG]
        for body in [*changed, *([without_part(BODIES[path], at)] if at else [])]:
            if (error := refusal(path, body)) is not None:
                assert error.status in (400, 404) and error.message and error.code, at


@pytest.mark.parametrize("path", BODIES)
def test_a_field_that_nobody_knows_is_named(path: str) -> None:
    free = {"parameters", "properties", "input_schema", "input", "metadata", "cache_control"} - \
        ({"input"} if path == "/v1/responses" else set())
    for at in places(BODIES[path]):
        holder = BODIES[path]
        for key in at:
            holder = holder[key]
        if isinstance(holder, dict) and not free & set(at):
            error = refusal(path, with_part(BODIES[path], (*at, "nobody_knows"), 1))
            assert error is not None and error.code == "unknown_parameter" and "nobody_knows" in error.message, at


def judged(path: str, body: Any, profile: Any) -> None:
    """A request is passed on as the contract's, or refused in the API's own shape."""
    app = Application()
    answer = call(Contract(app, profile), path=path, body=body)
    assert answer.raised is None
    if app.bodies[-1]:
        assert app.scopes[-1]["path"] == TRANSLATED[path].inner
        return
    said = answer.json
    assert answer.status in (400, 404), said
    if path == "/v1/responses":
        assert set(said) == {"error"} and set(said["error"]) == {"message", "type", "param", "code"}
        assert "messages[" not in said["error"]["message"]
    else:
        assert set(said) == {"type", "error"} and said["type"] == "error" and said["error"]["message"]
        assert said["error"]["type"] == {400: "invalid_request_error", 404: "not_found_error"}[answer.status]


@settings(max_examples=150, deadline=None)
@given(st.data(), st.sampled_from(sorted(BODIES)), st.sampled_from([PROFILE, FULL, llama(FULL)]))
def test_any_part_may_be_anything(data: st.DataObject, path: str, profile: Any) -> None:
    at = data.draw(st.sampled_from(list(places(BODIES[path]))))
    judged(path, with_part(BODIES[path], at, data.draw(VALUES)), profile)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=40), st.sampled_from(sorted(BODIES)))
def test_any_bytes(raw: bytes, path: str) -> None:
    answer = call(Contract(Application(), FULL), path=path, body=raw)
    assert answer.status == 400 and answer.json["error"]["message"]
