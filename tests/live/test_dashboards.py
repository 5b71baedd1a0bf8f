"""Every metric that dashboards, alerts and autoscaling ask for is one that the real program has."""

from __future__ import annotations

import http.client
import re
import socket
import urllib.request
from collections.abc import Iterator

import pytest

from modelkit.platforms.dashboards import metric_names
from tests.live.engines import BASE, start_stage, stop_stage
from tests.live.test_llama_host import Host, host  # noqa: F401  a fixture
from tests.live.test_vllm_engine import QUESTION, Running, engine, environment, plan  # noqa: F401  fixtures

EDGE = f"""NAME tiny
FROM {BASE}
PARAMETER num_ctx 512
"""


def series(text: str) -> set[str]:
    """The names of all series in an exposition, those of families without a sample yet among them."""
    found = set(re.findall(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{| )", text, re.M))
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M):
        found |= {name} if kind != "histogram" else {f"{name}_bucket", f"{name}_sum", f"{name}_count"}
    return found


def scrape(path: str) -> str:
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(60)
    connection.sock.connect(path)
    connection.request("GET", "/metrics")
    answer = connection.getresponse()
    assert answer.status == 200
    text = answer.read().decode()
    connection.close()
    return text


@pytest.mark.live_vllm
@pytest.mark.timeout(900)
def test_vllm_has_what_is_asked_for(engine: Running) -> None:  # noqa: F811
    engine.ask("/v1/chat/completions", messages=QUESTION, max_tokens=2)
    text = scrape(engine.socket)
    assert metric_names("vllm") - series(text) == set()
    # The alert counts those that ended so; others must be told apart by the same label.
    assert re.search(r'^vllm:request_success_total\{[^}]*finished_reason="error"', text, re.M)
    assert re.search(r'^vllm:kv_cache_usage_perc\{[^}]*\} [0-9.e-]+$', text, re.M)


@pytest.mark.live_llamacpp
def test_llama_server_has_what_is_asked_for(host: Host) -> None:  # noqa: F811
    assert metric_names("llama-server") - series(host.http.get("/metrics").text) == set()


@pytest.fixture
def edge() -> Iterator[str]:
    url = start_stage("dev", EDGE)
    yield url
    stop_stage(url)


@pytest.mark.live_llamacpp
@pytest.mark.timeout(300)
def test_the_edge_has_what_is_asked_for(edge: str) -> None:
    with urllib.request.urlopen(edge.removesuffix("/v1") + "/metrics", timeout=30) as answer:
        text = answer.read().decode()
    assert metric_names("edge") - series(text) == set()
    assert re.search(r"^modelkit_engine_up\{.*\} 1$", text, re.M)
