"""How a platform's client asks an engine, from inside its container, what it really has."""

from __future__ import annotations

from modelkit.contract.effective import PATH
from modelkit.engines.container import Container

_ASK = ("import os, urllib.request as u; r = u.Request('http://127.0.0.1:{port}{path}'); k = os.environ.get('{key}'); "
        "k and r.add_header('Authorization', 'Bearer ' + k); print(u.urlopen(r, timeout=30).read().decode())")


def asking(container: Container) -> tuple[str, ...]:
    """Words to run in an engine's container: it prints one JSON document, see `contract.effective`.

    The key never leaves the container: it is read from the variable that the engine has it in.
    """
    key = next((secret.variable for secret in container.secrets if not secret.optional), "")
    return ("python3", "-c", _ASK.format(port=container.port, path=PATH, key=key))
