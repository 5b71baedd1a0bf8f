"""What is worth seeing, and worth waking somebody for: the panels and alerts of engines and of modelkit's edge.

Every name of a metric here is held against a scrape of the real program by the live tests. `{job}` stands for the
label that a panel or an alert looks at; vLLM's names are those of 0.32, which modelkit's own engine for llama.cpp
has, too; llama-server's are of build 11549.
"""

from __future__ import annotations

from typing import NamedTuple


class Panel(NamedTuple):
    """One chart: `lines` are pairs of an expression and its legend, `unit` is Grafana's."""

    title: str
    unit: str
    lines: tuple[tuple[str, str], ...]


class Alert(NamedTuple):
    """One alert: it fires once `expression` has had an answer for `minutes`."""

    name: str
    expression: str
    minutes: int
    severity: str
    summary: str


def _quantiles(metric: str) -> tuple[tuple[str, str], ...]:
    return tuple((f"histogram_quantile({q}, sum by (le) (rate({metric}_bucket{{{{job}}}}[5m])))", f"p{int(q * 100)}")
                 for q in (0.5, 0.95, 0.99))


def _rate(metric: str, by: str = "") -> str:
    return f"sum{f' by ({by})' if by else ''} (rate({metric}{{{{job}}}}[5m]))"


PANELS: dict[str, tuple[Panel, ...]] = {
    "vllm": (
        Panel("Requests in the engine", "short", (("sum(vllm:num_requests_running{{job}})", "running"),
                                                  ("sum(vllm:num_requests_waiting{{job}})", "waiting"))),
        Panel("Requests finished", "reqps", ((_rate("vllm:request_success_total", "finished_reason"),
                                              "{{finished_reason}}"),)),
        Panel("Time to first token", "s", _quantiles("vllm:time_to_first_token_seconds")),
        Panel("Between two tokens", "s", _quantiles("vllm:inter_token_latency_seconds")),
        Panel("Whole requests", "s", _quantiles("vllm:e2e_request_latency_seconds")),
        Panel("Waiting for a place", "s", _quantiles("vllm:request_queue_time_seconds")),
        Panel("Tokens a second", "short", ((_rate("vllm:prompt_tokens_total"), "read"),
                                           (_rate("vllm:generation_tokens_total"), "written"))),
        Panel("Attention cache in use", "percentunit", (("vllm:kv_cache_usage_perc{{job}}", "{{instance}}"),)),
        Panel("Prompt tokens found in the cache", "percentunit", ((
            _rate("vllm:prefix_cache_hits_total") + " / " + _rate("vllm:prefix_cache_queries_total"), "hits"),)),
        Panel("Requests put off for want of cache", "reqps", ((_rate("vllm:num_preemptions_total"), "preemptions"),)),
    ),
    "llama-server": (
        Panel("Requests in the engine", "short", (("sum(llamacpp:requests_processing{{job}})", "running"),
                                                  ("sum(llamacpp:requests_deferred{{job}})", "waiting"))),
        Panel("Tokens a second", "short", ((_rate("llamacpp:prompt_tokens_total"), "read"),
                                           (_rate("llamacpp:tokens_predicted_total"), "written"))),
        Panel("Speed of one conversation", "short", (("llamacpp:prompt_tokens_seconds{{job}}", "reading"),
                                                     ("llamacpp:predicted_tokens_seconds{{job}}", "writing"))),
    ),
    "edge": (
        Panel("Requests answered", "reqps", ((_rate("modelkit_requests_total", "code"), "{{code}}"),)),
        Panel("Requests by version", "reqps", ((_rate("modelkit_requests_total", "stage, version"),
                                                "{{stage}} {{version}}"),)),
        Panel("Time to first byte of a stream", "s", _quantiles("modelkit_ttft_seconds")),
        Panel("Whole requests", "s", _quantiles("modelkit_request_duration_seconds")),
        Panel("Requests in engines", "short", (("sum by (stage) (modelkit_inflight{{job}})", "{{stage}}"),
                                               ("sum(modelkit_connections{{job}})", "connections"))),
        Panel("Refused by the edge", "reqps", ((_rate("modelkit_rejected_total", "reason"), "{{reason}}"),)),
        Panel("Answers cut short", "reqps", ((_rate("modelkit_broken_total", "reason"), "{{reason}}"),)),
        Panel("Engines ready", "short", (("sum by (stage, version) (modelkit_engine_up{{job}})",
                                          "{{stage}} {{version}}"),
                                         ("sum(increase(modelkit_engine_restarts_total{{job}}[1h]))", "restarts"))),
    ),
}
PANELS["llama.cpp"] = PANELS["vllm"]
"""By engine, and for the edge of `process`. `{{job}}` becomes a selector, what else stands in braces is Grafana's."""

_NO_TARGET = Alert("ModelkitDown", 'absent(up{{job}} == 1)', 5, "critical", "nothing that can be asked answers")

ALERTS: dict[str, tuple[Alert, ...]] = {
    "vllm": (
        _NO_TARGET,
        Alert("ModelkitRequestsWait", "avg(vllm:num_requests_waiting{{job}}) > {concurrency}", 10, "warning",
              "more requests wait than the engine works on: add replicas, or raise max_concurrency"),
        Alert("ModelkitFirstTokenSlow", "histogram_quantile(0.95, sum by (le) "
              "(rate(vllm:time_to_first_token_seconds_bucket{{job}}[10m]))) > 10", 10, "warning",
              "one request in twenty waits more than ten seconds for its first token"),
        Alert("ModelkitRequestsFail", 'sum(rate(vllm:request_success_total{{job, finished_reason="error"}}[10m]))'
              " / sum(rate(vllm:request_success_total{{job}}[10m])) > 0.01", 10, "critical",
              "more than one request in a hundred ends with an error of the engine"),
        Alert("ModelkitCacheTooSmall", "sum(rate(vllm:num_preemptions_total{{job}}[10m])) > 0.1", 15, "warning",
              "requests are begun again for want of attention cache: lower num_ctx or max_concurrency, or add memory"),
        Alert("ModelkitCacheFull", "max(vllm:kv_cache_usage_perc{{job}}) > 0.95", 30, "info",
              "the attention cache of an engine has been full for half an hour"),
    ),
    "edge": (
        _NO_TARGET,
        Alert("ModelkitNoEngine", "sum(modelkit_engine_up{{job}}) < 1", 2, "critical", "no engine is ready"),
        Alert("ModelkitRequestsFail", 'sum(rate(modelkit_requests_total{{job, code=~"5.."}}[10m]))'
              " / sum(rate(modelkit_requests_total{{job}}[10m])) > 0.01", 10, "critical",
              "more than one request in a hundred is answered with an error of the server"),
        Alert("ModelkitAnswersCut", 'sum(increase(modelkit_broken_total{{job, reason!="client_gone"}}[10m])) > 0', 0,
              "warning", "answers that had begun did not end, and not because their clients left"),
        Alert("ModelkitRestarts", "sum(increase(modelkit_engine_restarts_total{{job}}[30m])) > 2", 0, "warning",
              "an engine crashes again and again: `modelkit logs` has its last words"),
        Alert("ModelkitFirstTokenSlow", "histogram_quantile(0.95, sum by (le) "
              "(rate(modelkit_ttft_seconds_bucket{{job}}[10m]))) > 10", 10, "warning",
              "one stream in twenty begins more than ten seconds after it was asked for"),
    ),
}
"""By engine on platforms of pods, and for the edge. An engine without a row gets the first alone."""

ANY_ENGINE = (_NO_TARGET,)
