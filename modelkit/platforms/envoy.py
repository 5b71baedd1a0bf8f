"""Envoy's configuration in front of several copies of one engine, as pure data. Checked by `envoy --mode validate`.

It takes a request to the copy with the fewest in flight, and to another one when a copy broke before it had begun to
answer. It times nothing out and changes no body. Facts are those of Envoy 1.40 (its v3 API reference).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CLUSTER = "engines"
ENDPOINTS = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"

_HTTP = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
_UPSTREAM = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_LEAST = "type.googleapis.com/envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest"
_CONNECTIONS = ("type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3."
                "DownstreamConnectionsConfig")
_DNS = "type.googleapis.com/envoy.extensions.clusters.dns.v3.DnsCluster"
_OTHER_HOST = "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"

_MANY = 65536  # Envoy's own limits (1024 requests at once, 3 retries) would refuse what the engines would queue
_RETRIES = 8
_HEADERS = 200  # a client may send a hundred; each side adds some
_UNUSED = "4s"  # a kept connection; the engines' own limit is 5

Json = dict[str, Any]


def pipe(path: str) -> Json:
    """The address of a Unix socket, of which nobody else may ask."""
    return {"pipe": {"path": path, "mode": 0o600}}


def bootstrap(listen: Json, cluster: Json, *, body_bytes: int, admin: Json | None = None) -> Json:
    """The whole configuration: requests come in at the address `listen` and go to the endpoints of `cluster`.

    Bodies up to `body_bytes` are kept until an engine has begun to answer, so that another one can be asked.
    """
    found: Json = {
        "node": {"id": "modelkit", "cluster": "modelkit"},
        "static_resources": {"listeners": [_listener(listen, body_bytes)], "clusters": [_engines(cluster, body_bytes)]},
        "overload_manager": {"resource_monitors": [{
            "name": "envoy.resource_monitors.global_downstream_max_connections",
            "typed_config": {"@type": _CONNECTIONS, "max_active_downstream_connections": _MANY}}]},
        "stats_config": {"stats_matcher": {"inclusion_list": {"patterns": [
            {"prefix": f"cluster.{CLUSTER}."}, {"prefix": "http.edge."}]}}},
    }
    return found if admin is None else found | {"admin": {"address": admin}}


def from_file(path: str) -> Json:
    """A cluster whose endpoints are in a file; a new one that is moved there is read at once."""
    return {"type": "EDS", "eds_cluster_config": {
        "service_name": CLUSTER, "eds_config": {"path_config_source": {"path": path}, "resource_api_version": "V3"}}}


def from_names(endpoints: Mapping[str, int]) -> Json:
    """A cluster whose endpoints are all the addresses behind host names, each with its port."""
    hosts = [_endpoint({"socket_address": {"address": name, "port_value": port}}) for name, port in endpoints.items()]
    return {"cluster_type": {"name": "envoy.cluster.dns", "typed_config": {"@type": _DNS, "dns_refresh_rate": "2s"}},
            "load_assignment": {"cluster_name": CLUSTER, "endpoints": [{"lb_endpoints": hosts}]}}


def endpoints(standing: Mapping[str, bool]) -> Json:
    """The file that `from_file` reads. Of sockets that stand for False, requests in flight go on and none are added."""
    hosts = [_endpoint({"pipe": {"path": path}}) | ({} if open_ else {"health_status": "DRAINING"})
             for path, open_ in standing.items()]
    return {"version_info": "0", "resources": [
        {"@type": ENDPOINTS, "cluster_name": CLUSTER, "endpoints": [{"lb_endpoints": hosts}]}]}


def _endpoint(address: Json) -> Json:
    return {"endpoint": {"address": address}}


def _listener(listen: Json, body_bytes: int) -> Json:
    return {"name": "edge", "address": listen, "per_connection_buffer_limit_bytes": body_bytes + 65536,
            "filter_chains": [{"filters": [{"name": "http", "typed_config": _connections(body_bytes)}]}]}


def _connections(body_bytes: int) -> Json:
    return {
        "@type": _HTTP, "stat_prefix": "edge", "codec_type": "HTTP1",
        "generate_request_id": False, "preserve_external_request_id": True, "skip_xff_append": True,
        "server_header_transformation": "PASS_THROUGH",
        "stream_idle_timeout": "0s", "request_timeout": "0s",
        "max_request_headers_kb": 96,
        "common_http_protocol_options": {"idle_timeout": "0s", "max_headers_count": _HEADERS},
        "local_reply_config": _own_words(),
        "route_config": {"name": "all", "virtual_hosts": [{
            "name": "all", "domains": ["*"], "request_body_buffer_limit": body_bytes + 65536,
            "routes": [{"match": {"prefix": "/"}, "route": {
                "cluster": CLUSTER, "timeout": "0s", "idle_timeout": "0s", "retry_policy": _retries()}}]}]},
        "http_filters": [{"name": "router", "typed_config": {"@type": _ROUTER, "suppress_envoy_headers": True}}],
    }


def _retries() -> Json:
    """Only what no engine had begun to answer is asked again: after the first byte of a head nothing is."""
    return {"retry_on": "connect-failure,refused-stream,reset,reset-before-request", "num_retries": _RETRIES,
            "retry_back_off": {"base_interval": "0.025s", "max_interval": "0.25s"},
            "retry_host_predicate": [{"name": "previous_hosts", "typed_config": {"@type": _OTHER_HOST}}],
            "host_selection_retry_max_attempts": 5}


def _own_words() -> Json:
    """What Envoy itself has to say, in the envelope that clients know."""
    said = {"error": {"message": "no engine answered this request; it may be sent again", "type": "server_error",
                      "param": None, "code": "engine_unavailable"}}
    return {"mappers": [{
        "filter": {"status_code_filter": {"comparison": {"op": "GE", "value": {
            "default_value": 500, "runtime_key": "modelkit_unset"}}}},
        "headers_to_add": [{"header": {"key": "retry-after", "value": "2"},
                            "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}],
        "body_format_override": {"json_format": said, "content_type": "application/json"}}]}


def _engines(cluster: Json, body_bytes: int) -> Json:
    return {
        "name": CLUSTER, **cluster, "connect_timeout": "5s", "per_connection_buffer_limit_bytes": body_bytes + 65536,
        "load_balancing_policy": {"policies": [{"typed_extension_config": {
            "name": "least_request", "typed_config": {"@type": _LEAST, "selection_method": "FULL_SCAN"}}}]},
        # Never to an endpoint that is known to be out, not even when all are: it may be on its way out.
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "ignore_health_on_host_removal": True,
        "circuit_breakers": {"thresholds": [dict.fromkeys(
            ("max_connections", "max_pending_requests", "max_requests", "max_retries"), _MANY)]},
        "health_checks": [{
            "timeout": "10s", "interval": "2s", "no_traffic_interval": "2s", "initial_jitter": "0s",
            "unhealthy_threshold": 3, "healthy_threshold": 1, "unhealthy_interval": "1s",
            "http_health_check": {"host": "localhost", "path": "/health"}}],
        "outlier_detection": {
            "consecutive_5xx": 10, "interval": "1s", "base_ejection_time": "5s", "max_ejection_percent": 50},
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": _UPSTREAM, "explicit_http_config": {"http_protocol_options": {}},
            "common_http_protocol_options": {"idle_timeout": _UNUSED, "max_headers_count": _HEADERS}}},
    }
