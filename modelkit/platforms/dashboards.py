"""Grafana dashboards and Prometheus alert rules of a stage, and what makes a Prometheus operator find them."""

from __future__ import annotations

import json
import re
from typing import Any

from modelkit.engines.container import Container
from modelkit.engines.launch import File
from modelkit.planning.plan import Plan
from modelkit.platforms import yaml
from modelkit.platforms.dashboard_panels import ALERTS, ANY_ENGINE, PANELS, Alert, Panel
from modelkit.platforms.kubernetes_names import Object, metadata, object_name, selector

QUEUE = {"vllm": "vllm:num_requests_waiting", "llama.cpp": "vllm:num_requests_waiting",
         "llama-server": "llamacpp:requests_deferred"}
"""The gauge of requests that wait, by engine."""

_HEIGHT, _WIDTH = 8, 12  # of a panel, of Grafana's 24 columns
_MARK = re.compile(r"\{\{job(, ([^}]*))?\}\}")


def monitoring(plan: Plan, container: Container) -> tuple[File, ...]:
    """The folder `monitoring` of a stage on Kubernetes: for an operator, and as plain files for those without one.

    Empty for an engine that has no metrics.
    """
    if container.metrics is None:
        return ()
    assert plan.engine is not None
    job, engine = object_name(plan), plan.engine.name
    rules = alert_rules(ALERTS.get(engine, ANY_ENGINE), job, plan.max_concurrency)
    objects: dict[str, Object] = {
        "servicemonitor.yaml": {
            "apiVersion": "monitoring.coreos.com/v1", "kind": "ServiceMonitor", "metadata": metadata(plan),
            "spec": {"selector": {"matchLabels": selector(plan)},
                     "endpoints": [{"port": "http", "path": container.metrics, "interval": "15s"}]}},
        "prometheusrule.yaml": {"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule",
                                "metadata": metadata(plan), "spec": rules}}
    kustomization: Object = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
                             "resources": list(objects)}
    found = [File(f"monitoring/{name}", yaml.dump(value), 0o644) for name, value in objects.items()]
    found.append(File("monitoring/alerts.yaml", yaml.dump(rules), 0o644))
    if engine in PANELS:
        found.append(File("monitoring/dashboard.json", dashboard(f"{plan.name} ({plan.stage})", job, engine), 0o644))
        kustomization["configMapGenerator"] = [{  # Grafana's sidecar takes what has this label
            "name": f"{job}-dashboard", "files": [f"{job}.json=dashboard.json"],
            "options": {"disableNameSuffixHash": True, "labels": {"grafana_dashboard": "1"}}}]
    return (File("monitoring/kustomization.yaml", yaml.dump(kustomization), 0o644), *found)


def dashboard_file(plan: Plan, container: Container) -> tuple[File, ...]:
    """The dashboard alone, where the platform has monitors of its own. Empty for an engine without panels."""
    if container.metrics is None or plan.engine_name not in PANELS:
        return ()
    job = object_name(plan)
    return (File("monitoring/dashboard.json", dashboard(f"{plan.name} ({plan.stage})", job, plan.engine_name), 0o644),)


def edge_monitoring(plan: Plan) -> tuple[File, ...]:
    """The same for platform `process`, where modelkit's own edge is what Prometheus asks."""
    return edge_files(plan.name, plan.stage, plan.host, plan.port)


def edge_files(name: str, stage: str, host: str, port: int) -> tuple[File, ...]:
    """A dashboard, alert rules and a configuration for Prometheus, for the edge at an address."""
    address = f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"
    scrape = {"scrape_configs": [{"job_name": "modelkit", "scrape_interval": "15s", "metrics_path": "/metrics",
                                  "static_configs": [{"targets": [address]}]}], "rule_files": ["alerts.yaml"]}
    rules = alert_rules(ALERTS["edge"], "modelkit", 0)
    return (File("monitoring/prometheus.yml", yaml.dump(scrape), 0o644),
            File("monitoring/alerts.yaml", yaml.dump(rules), 0o644),
            File("monitoring/dashboard.json", dashboard(f"{name} ({stage})", "modelkit", "edge"), 0o644))


def alert_rules(alerts: tuple[Alert, ...], job: str, concurrency: int) -> dict[str, Any]:
    """A rules file of Prometheus, which is also a PrometheusRule's spec."""
    return {"groups": [{"name": f"modelkit-{job}" if job != "modelkit" else job, "rules": [
        {"alert": one.name, "expr": _expression(one.expression.replace("{concurrency}", str(concurrency)), f'"{job}"'),
         "for": f"{one.minutes}m", "labels": {"severity": one.severity},
         "annotations": {"summary": f"{job}: {one.summary}"}} for one in alerts]}]}


def dashboard(title: str, job: str, engine: str) -> str:
    """The dashboard of an engine or of the edge, as Grafana imports it; `job` is what it shows at first."""
    source = {"type": "prometheus", "uid": "${datasource}"}
    asked = next(iter(_metrics(PANELS[engine][0].lines[0][0])))
    variables = [
        {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"},
        {"name": "job", "type": "query", "label": "Stage", "datasource": source, "refresh": 2, "includeAll": True,
         "multi": True, "allValue": ".+", "query": {"query": f"label_values({asked}, job)", "refId": "job"},
         "current": {"text": [job], "value": [job]}}]
    panels = [_panel(number, panel, source) for number, panel in enumerate(PANELS[engine])]
    found = {"title": title, "uid": f"modelkit-{job}"[:40], "tags": ["modelkit", engine], "schemaVersion": 39,
             "editable": True, "refresh": "30s", "time": {"from": "now-1h", "to": "now"}, "timezone": "browser",
             "templating": {"list": variables}, "panels": panels}
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def metric_names(engine: str) -> set[str]:
    """Every metric that the panels and alerts of an engine, or of the edge, ask for."""
    texts = [line for panel in PANELS.get(engine, ()) for line, _ in panel.lines]
    texts += [one.expression for one in ALERTS.get(engine, ())]
    return {name for text in texts for name in _metrics(text)} | ({QUEUE[engine]} if engine in QUEUE else set())


def _panel(number: int, panel: Panel, source: dict[str, str]) -> dict[str, Any]:
    columns = 24 // _WIDTH
    targets = [{"refId": chr(ord("A") + at), "datasource": source, "expr": _expression(text, '~"$job"'),
                "legendFormat": legend} for at, (text, legend) in enumerate(panel.lines)]
    return {"id": number + 1, "type": "timeseries", "title": panel.title, "datasource": source, "targets": targets,
            "gridPos": {"h": _HEIGHT, "w": _WIDTH, "x": number % columns * _WIDTH, "y": number // columns * _HEIGHT},
            "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []}}


def _expression(text: str, job: str) -> str:
    """An expression with its selectors: `{{job}}`, or `{{job, code="500"}}` with more labels."""
    return _MARK.sub(lambda found: "{job=" + job + (f", {found[2]}" if found[2] else "") + "}", text)


def _metrics(text: str) -> list[str]:
    return re.findall(r"\b(?:vllm:|llamacpp:|modelkit_)[a-z0-9_]+", text)
