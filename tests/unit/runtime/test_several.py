"""Several Modelfiles behind one address: each request goes to the model that it names."""

from __future__ import annotations

import http.client
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from modelkit.failure import Failure
from modelkit.platforms.bundle import Bundle
from modelkit.runtime import client
from modelkit.runtime.client import Client, Project
from modelkit.runtime.edge import Access
from modelkit.runtime.project import Lock, project_id, project_of
from tests.unit.runtime.support import FAST, Home, bundle, get, kill, post, within

FILES = ("/nowhere/a/Modelfile", "/nowhere/b/Modelfile")


def named(name: str, *vices: str, modelfile: str | None = None, **more: Any) -> Bundle:
    made = bundle("--name", name, *vices, **more)
    plan = made.plan.model_copy(update={"name": name, "modelfile": modelfile or f"/nowhere/{name}/Modelfile"})
    return Bundle(plan, made.launch)


@pytest.fixture
def both(home: Home) -> Home:
    """A home whose project is the two files' together."""
    home.project = Project(project_id(*FILES))
    return home


def ensure(home: Home) -> Client:
    home.project.join(FILES)
    return client.ensure(home.project, host="127.0.0.1", port=0, access=Access(), modelfiles=FILES, timing=FAST)


def up(home: Home, *bundles: Bundle) -> Client:
    connected = ensure(home)
    for one in bundles or (named("a"), named("b")):
        connected.apply(one)
    return connected


def answered_by(endpoint: str, model: str, **more: Any) -> str:
    status, text = post(endpoint, model=model, max_tokens=1, **more)
    assert status == 200, text
    return str(json.loads(text)["model"])


def code(answer: tuple[int, str]) -> tuple[int, str]:
    return answer[0], json.loads(answer[1])["error"]["code"]


def test_each_request_goes_to_the_model_that_it_names(both: Home) -> None:
    connected = up(both)
    at = connected.endpoint
    with ThreadPoolExecutor(8) as pool:
        names = ["a", "b"] * 20
        assert list(pool.map(lambda name: answered_by(at, name), names)) == names
    assert answered_by(at, "b", user="x" * 1_000_000) == "b"
    status, text = post(at, model="b", stream=True, max_tokens=3)
    assert status == 200 and '"model": "b"' in text and "[DONE]" in text
    assert [m["id"] for m in json.loads(get(at, "/v1/models")[2])["data"]] == ["a", "b"]
    assert json.loads(get(at, "/v1/models/b")[2])["id"] == "b"
    assert get(at, "/readyz")[0] == 200
    metrics = get(at, "/metrics")[2]
    assert 'model="a"' in metrics and 'model="b"' in metrics
    assert {g["name"]: (g["routed"], g["modelfile"]) for g in connected.status()["generations"]} == {
        "a": (True, FILES[0]), "b": (True, FILES[1])}
    connected.down()
    assert both.leftovers() == []


@pytest.mark.parametrize(("body", "status", "said"), [
    (b'{"model": "c", "messages": []}', 404, "model_not_found"),
    (b'{"messages": []}', 400, "missing_parameter"),
    (b'{"model": 1}', 400, "invalid_type"),
    (b"{", 400, "invalid_json"), (b"[]", 400, "invalid_type"), (b"[" * 100_000, 400, "invalid_json"),
])
def test_who_names_no_model_is_told_so(both: Home, body: bytes, status: int, said: str) -> None:
    connected = up(both)
    answer = raw(connected.endpoint, body)
    assert answer[0] == status
    assert json.loads(answer[1])["error"]["code"] is not None
    if status == 404:
        assert "this server has `a`, `b`" in json.loads(answer[1])["error"]["message"]
        assert code(answer) == (status, said)


def raw(endpoint: str, body: bytes, **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(endpoint.removeprefix("http://"), timeout=30)
    connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json", **headers})
    response = connection.getresponse()
    return response.status, response.read().decode()


def test_a_chunked_body_is_read_too(both: Home) -> None:
    connected = up(both)
    pieces = [b'{"messages": [{"role": "user", "content": "', b"x" * 200_000, b'"}], "max_tokens": 1, ',
              b'"model": "b"}']
    connection = http.client.HTTPConnection(connected.endpoint.removeprefix("http://"), timeout=30)
    connection.request("POST", "/v1/chat/completions", iter(pieces), {"Content-Type": "application/json"},
                       encode_chunked=True)
    response = connection.getresponse()
    assert (response.status, json.loads(response.read())["model"]) == (200, "b")
    connection.request("POST", "/v1/chat/completions", b'{"model": "a", "max_tokens": 1}',
                       {"Content-Type": "application/json", "Expect": "100-continue"})
    assert json.loads(connection.getresponse().read())["model"] == "a"


def test_one_that_is_down_leaves_the_other_alone(both: Home) -> None:
    home = both
    home.project.join(FILES)
    connected = client.ensure(home.project, host="127.0.0.1", port=0, access=Access(), modelfiles=FILES,
                              timing=client.Timing(**{**FAST.as_json(), "backoff_first": 30, "backoff_most": 30}))
    assert code(post(connected.endpoint, model="a")) == (503, "engine_unavailable")
    assert get(connected.endpoint, "/v1/models/a")[0] == 503
    connected.apply(named("a"))
    assert code(post(connected.endpoint, model="b")) == (503, "engine_unavailable"), "it may be the other's name"
    connected.apply(named("b"))
    kill(next(g["pid"] for g in connected.status()["generations"] if g["name"] == "a"))
    assert within(30, lambda: {g["name"]: g["phase"] for g in connected.status()["generations"]}["a"] == "backoff")
    assert code(post(connected.endpoint, model="a")) == (503, "engine_unavailable")
    assert answered_by(connected.endpoint, "b") == "b"
    assert get(connected.endpoint, "/readyz")[0] == 503


def test_one_is_swapped_and_the_other_stays(both: Home) -> None:
    connected = up(both)
    before = {g["name"]: g["pid"] for g in connected.status()["generations"]}
    assert connected.apply(named("a", "--token-seconds", "0.01"))["outcome"] == "switched"
    after = {g["name"]: g["pid"] for g in connected.status()["generations"]}
    assert after["b"] == before["b"] and after["a"] != before["a"]
    candidate = connected.start(named("b", stage="prod"))
    assert connected.switch(candidate["generation"])["outcome"] == "switched"
    assert {g["name"]: g["stage"] for g in connected.status()["generations"]} == {"a": "dev", "b": "prod"}
    assert answered_by(connected.endpoint, "b") == "b"


def test_one_sleeps_while_the_other_serves(both: Home) -> None:
    connected = up(both, named("a", serve={"keep_alive": 0.2}), named("b"))
    assert within(30, lambda: {g["name"]: g["phase"] for g in connected.status()["generations"]}["a"] == "unloaded")
    assert answered_by(connected.endpoint, "b") == "b"
    assert get(connected.endpoint, "/readyz")[0] == 200
    assert answered_by(connected.endpoint, "a") == "a"


def test_names_are_given_once_and_strangers_are_refused(both: Home) -> None:
    connected = up(both)
    with pytest.raises(Failure) as taken:
        connected.apply(named("a", modelfile=FILES[1]))
    assert taken.value.code == "same-name"
    with pytest.raises(Failure) as stranger:
        connected.apply(named("c"))
    assert stranger.value.code == "other-modelfiles"


def test_a_file_leads_to_where_it_runs(both: Home, tmp_path: Path) -> None:
    files = [tmp_path / name / "Modelfile" for name in "ab"]
    together, alone = Project(project_id(*files)), Project(project_id(files[0]))
    assert project_id(*files) == project_id(*reversed(files)) == project_id(*files, files[0])
    assert project_of(files[0]) == alone
    together.join([str(file) for file in files])
    lock = Lock.take(together, "test")
    assert lock is not None
    assert project_of(files[0]) == project_of(files[1]) == together
    alone.make()
    own = Lock.take(alone, "test")
    assert own is not None
    assert project_of(files[0]) == alone
    own.release()
    lock.release()
    together.engine_log.write_text("it said something")
    assert project_of(files[0]) == together, "its logs are there"
