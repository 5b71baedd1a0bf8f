"""Connections that are kept for the next request: by which proxy they go and which certificates they believe.

Both are as the environment says: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, `SSL_CERT_FILE`,
`SSL_CERT_DIR` and `REQUESTS_CA_BUNDLE`. What is on this machine is reached without a proxy.
"""

from __future__ import annotations

import ipaddress
import os
import ssl
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from modelkit.failure import Failure

if TYPE_CHECKING:
    from urllib3 import PoolManager


def is_loopback(host: str) -> bool:
    """Does this name mean this machine, without asking anybody?"""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def manager_for(parts: SplitResult) -> PoolManager:
    """The connections by which an address is reached."""
    host = parts.hostname or ""
    proxy = None
    if not is_loopback(host) and not proxy_bypass(host):
        known = getproxies()
        proxy = known.get(parts.scheme) or known.get("all")
    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE") or ""
    return _manager(proxy, bundle, os.environ.get("SSL_CERT_DIR", "") if bundle else "", os.getpid())


@cache
def _manager(proxy: str | None, bundle: str, folder: str, process: int) -> PoolManager:
    """Connections that are kept for the next request, with these ways and certificates.

    Those of a process that forked stay its own: two that share one would get each other's answers.
    """
    import urllib3

    if bundle and Path(bundle).is_dir():
        bundle, folder = "", folder or bundle
    try:
        context = ssl.create_default_context(cafile=bundle or None, capath=folder or None)
    except OSError as error:
        raise Failure("network", f"the certificates {bundle or folder} can't be read: {error.strerror or error}",
                      "check SSL_CERT_FILE and REQUESTS_CA_BUNDLE") from None
    if proxy is None:
        return urllib3.PoolManager(maxsize=8, ssl_context=context)
    if "://" not in proxy:
        proxy = f"http://{proxy}"
    user, password = urlsplit(proxy).username, urlsplit(proxy).password
    headers = urllib3.make_headers(proxy_basic_auth=f"{unquote(user)}:{unquote(password or '')}") if user else None
    return urllib3.ProxyManager(proxy, maxsize=8, proxy_headers=headers, ssl_context=context)
