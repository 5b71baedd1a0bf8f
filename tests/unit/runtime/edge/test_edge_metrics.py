"""What is counted and what is logged."""

from __future__ import annotations

import json
import re

from modelkit.runtime.edge import Access, Metrics, family, key_hash
from modelkit.runtime.edge.metrics import BUCKETS, Series
from tests.unit.runtime.edge.harness import END, EVENTS, OK, VERSION, Call, always, bench, event, get, post, until

_LABEL = r'[a-z_]+="(?:[^"\\\n]|\\["\\n])*"'
SAMPLE = re.compile(r"[a-z_]+(?:\{%s(?:,%s)*\})? [0-9.e+-]+" % (_LABEL, _LABEL))  # noqa: UP031


def read(text: str) -> dict[str, float]:
    """The samples of an exposition, after a check of its form: each family once, announced, in one piece."""
    samples: dict[str, float] = {}
    current, announced = "", set()
    for line in text.removesuffix("\n").split("\n"):
        if line.startswith("# "):
            name = line.split(" ")[2]
            assert line.startswith(("# HELP ", "# TYPE ")) and (name == current or name not in announced)
            current = name
            announced.add(name)
            continue
        assert SAMPLE.fullmatch(line), line
        assert re.match(rf"{current}(?:_bucket|_sum|_count)?(?:\{{| )", line), line
        name, _, value = line.rpartition(" ")
        assert name not in samples
        samples[name] = float(value)
    return samples


async def test_what_happened_is_counted() -> None:
    async with bench(always(EVENTS, event("1"), END)) as made:
        for _ in range(3):
            assert (await made.ask(post())).status == 200
        assert (await made.ask(get(b"/v1/made-up-by-a-client"))).status == 404
        made.edge.route(None)
        assert (await made.ask(post())).status == 503
        response = await made.ask(get(b"/metrics"))
        assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
        samples = read(response.body.decode())
    labels = f'stage="dev",model="tiny",version="{VERSION}",route="/v1/chat/completions",code="200"'
    assert samples[f"modelkit_requests_total{{{labels}}}"] == 3
    labels = f'stage="dev",model="tiny",version="{VERSION}",route="other",code="404"'
    assert samples[f"modelkit_requests_total{{{labels}}}"] == 1
    assert samples['modelkit_rejected_total{reason="engine_unavailable"}'] == 1
    assert samples['modelkit_rejected_total{reason="not_found"}'] == 1
    for name in ("modelkit_request_duration_seconds", "modelkit_ttft_seconds"):
        series = f'stage="dev",version="{VERSION}",route="/v1/chat/completions"'
        counts = [samples[f'{name}_bucket{{{series},le="{bound:g}"}}'] for bound in BUCKETS]
        assert counts == sorted(counts)
        assert samples[f'{name}_bucket{{{series},le="+Inf"}}'] == samples[f"{name}_count{{{series}}}"] == 3
    assert samples["modelkit_connections"] == 1
    assert "made-up" not in response.body.decode()


async def test_what_is_in_flight_and_what_is_behind() -> None:
    async def silent(call: Call) -> None:
        await call.request()
        await call.gone()

    async with bench(silent) as made, made.client() as client:
        await client.send(post())
        await until(lambda: any(made.edge.in_flight.values()))
        samples = read((await made.ask(get(b"/metrics"))).body.decode())
        assert samples[f'modelkit_inflight{{stage="dev",version="{VERSION}"}}'] == 1
        assert samples[f'modelkit_info{{stage="dev",version="{VERSION}",engine="stub"}}'] == 1


async def test_the_supervisor_adds_its_gauges() -> None:
    async with bench(always(OK)) as made:
        up = family("modelkit_engine_up", "gauge", "Whether it runs.", [((("engine", "stub"),), 1)])
        made.edge.metrics.extra = lambda: up
        assert read((await made.ask(get(b"/metrics"))).body.decode())['modelkit_engine_up{engine="stub"}'] == 1


def test_labels_are_escaped() -> None:
    metrics = Metrics()
    metrics.counter(Series('a"b', "c\\d", "e\nf", "/x", 200)).answered(0.5, None)
    samples = read(metrics.render({}, [(("engine", 'x"\\\n'),)], 0))
    assert samples[r'modelkit_requests_total{stage="a\"b",model="c\\d",version="e\nf",route="/x",code="200"}'] == 1
    assert samples[r'modelkit_info{engine="x\"\\\n"}'] == 1


def test_buckets_hold_what_they_say() -> None:
    metrics = Metrics()
    for seconds in (0.001, 0.005, 0.0051, 81.92, 1000.0):
        metrics.counter(Series("s", "", "v", "r", 200)).answered(seconds, seconds)
    samples = read(metrics.render({}, [], 0))
    count = {bound: samples[f'modelkit_ttft_seconds_bucket{{stage="s",version="v",route="r",le="{bound}"}}']
             for bound in ("0.005", "0.01", "81.92", "+Inf")}
    assert count == {"0.005": 2, "0.01": 3, "81.92": 4, "+Inf": 5}


async def test_one_line_of_json_for_each_request_without_bodies_and_keys() -> None:
    access = Access((key_hash("the-key"),))
    async with bench(always(EVENTS, event("the-answer"), END), access=access) as made, made.client() as client:
        key = b"Authorization: Bearer the-key"
        await client.ask(post(b'"the-prompt"', key, b'X-Request-Id: a"b'))
        await client.ask(post(b"{}", key, b"X-Request-Id: my-id"))
        await client.ask(get(b"/nope?q=the-query", key))
        await client.ask(get(b"/healthz"))
        await client.ask(get(b"/v1/models", b"Authorization: Bearer wrong-key"))
    lines = [json.loads(line) for line in made.log]
    assert [(line["route"], line["status"], line["outcome"]) for line in lines] == [
        ("/v1/chat/completions", 200, "ok"), ("/v1/chat/completions", 200, "ok"), ("other", 404, "not_found"),
        ("/healthz", 200, "ok"), ("/v1/models", 401, "invalid_api_key")]
    first, second = lines[:2]
    assert first["id"].startswith("req_") and second["id"] == "my-id"
    assert (first["client"], first["method"], first["version"]) == ("127.0.0.1", "POST", VERSION)
    assert first["bytes_in"] == len(b'"the-prompt"') and first["bytes_out"] > 0
    assert first["ms"] >= first["ttft_ms"] >= 0 and "ttft_ms" not in lines[3]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first["at"])
    assert not re.search("the-(?:key|prompt|answer|query)|wrong-key", "".join(made.log))
