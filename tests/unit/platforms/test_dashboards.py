"""Dashboards and alerts: every expression is one that Prometheus reads, about what the platform labels so."""

from __future__ import annotations

import json
import re
from typing import Any

import promql_parser
import pytest
import yaml

from modelkit.platforms import dashboards
from modelkit.platforms.dashboard_panels import ALERTS, PANELS
from tests.unit.platforms.cases import plan_of
from tests.unit.platforms.written import every, manifests_of, objects


def expressions(engine: str) -> list[str]:
    board = json.loads(dashboards.dashboard("a", "job-1", engine))
    rules = dashboards.alert_rules(ALERTS.get(engine, ()), "job-1", 4)["groups"][0]["rules"]
    return [*(t["expr"] for panel in board["panels"] for t in panel["targets"]), *(one["expr"] for one in rules)]


@pytest.mark.parametrize("engine", PANELS)
def test_prometheus_reads_every_expression(engine: str) -> None:
    for text in expressions(engine):
        promql_parser.parse(text.replace("$job", ".+"))
        assert "{{" not in text and "{concurrency}" not in text, text


@pytest.mark.parametrize("engine", PANELS)
def test_every_metric_is_asked_for_by_its_job(engine: str) -> None:
    for text in expressions(engine):
        for found in re.finditer(r"\b(?:vllm:|llamacpp:|modelkit_|up\b)[a-z0-9_]*", text):
            assert text[found.end():].startswith(("{job=~\"$job\"", "{job=\"job-1\"")), text


@pytest.mark.parametrize("engine", PANELS)
def test_a_dashboard_is_whole(engine: str) -> None:
    board: dict[str, Any] = json.loads(dashboards.dashboard("Support (prod)", "support-prod", engine))
    places = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in board["panels"]]
    assert len(set(places)) == len(places) == len(PANELS[engine]) == len({p["id"] for p in board["panels"]})
    assert all(p["gridPos"]["x"] + p["gridPos"]["w"] <= 24 for p in board["panels"])
    assert {one["name"] for one in board["templating"]["list"]} == {"datasource", "job"}
    assert len(board["uid"]) <= 40
    assert dashboards.metric_names(engine)


def test_names_that_a_wrong_metric_would_have_do_not_pass() -> None:
    assert "vllm:num_requests_waiting" in dashboards.metric_names("vllm")
    with pytest.raises(ValueError):
        promql_parser.parse("sum(rate(vllm:num_requests_waiting{job=~\"a\"}[5m])")


@pytest.mark.parametrize("platform", ["kubernetes", "llm-d"])
def test_the_monitor_finds_the_service_and_its_port(platform: str) -> None:
    for name, manifests in every(platform):
        made = objects(manifests)
        if "monitoring/servicemonitor.yaml" not in made:
            continue
        monitor, service = made["monitoring/servicemonitor.yaml"]["spec"], made["service.yaml"]
        assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items(), name
        assert monitor["endpoints"][0]["port"] in [port["name"] for port in service["spec"]["ports"]], name
        plain = next(f.content for f in manifests.files if f.path == "monitoring/alerts.yaml")
        assert yaml.safe_load(plain) == made["monitoring/prometheusrule.yaml"]["spec"], name
        assert service["metadata"]["name"] == re.findall(r'job=\\"([a-z0-9-]+)', plain)[0], name


def test_the_kustomization_of_monitoring_names_what_is_there() -> None:
    files = {f.path: f.content for f in manifests_of("kubernetes")["plain"].files}
    kustomization = yaml.safe_load(files["monitoring/kustomization.yaml"])
    named = [*kustomization["resources"], *(word.partition("=")[2] for one in kustomization["configMapGenerator"]
                                            for word in one["files"])]
    assert all(f"monitoring/{name}" in files for name in named)


@pytest.mark.parametrize("platform", ["kubernetes", "llm-d", "kserve", "production-stack"])
def test_the_kustomization_names_every_object(platform: str) -> None:
    for name, manifests in every(platform):
        kustomization = yaml.safe_load(next(f.content for f in manifests.files if f.path == "kustomization.yaml"))
        assert kustomization["resources"] == [p for p in objects(manifests) if not p.startswith("monitoring/")], name


def test_the_edge_is_scraped_where_it_listens() -> None:
    files = {f.path: f.content for f in dashboards.edge_monitoring(plan_of("replicas", "process"))}
    config = yaml.safe_load(files["monitoring/prometheus.yml"])
    assert config["scrape_configs"][0]["static_configs"] == [{"targets": ["127.0.0.1:9000"]}]
    assert config["rule_files"] == ["alerts.yaml"]
    assert "[::1]:80" in dashboards.edge_files("a", "prod", "::1", 80)[0].content
