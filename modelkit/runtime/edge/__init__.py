"""The one stable TCP address in front of the engines: checks, counts and relays bytes; never looks into them."""

from modelkit.runtime.edge.access import Access, allowed_hosts, key_hash
from modelkit.runtime.edge.limits import EdgeLimits
from modelkit.runtime.edge.metrics import Metrics, family
from modelkit.runtime.edge.server import Edge
from modelkit.runtime.edge.sockets import bind
from modelkit.runtime.edge.upstream import Upstream

__all__ = ["Access", "Edge", "EdgeLimits", "Metrics", "Upstream", "allowed_hosts", "bind", "family", "key_hash"]
