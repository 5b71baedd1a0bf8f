"""An engine's files as ConfigMaps: immutable, named by their content, mounted as one folder."""

from __future__ import annotations

import re
from collections.abc import Iterable

from modelkit.engines.launch import File
from modelkit.failure import Failure
from modelkit.models.digests import digest
from modelkit.planning.plan import Plan
from modelkit.platforms.kubernetes_names import Object, metadata

LIMIT = 1 << 20
"""Bytes that a ConfigMap holds at most, keys and values together."""

_KEY_LONGEST = 253


def config_maps(plan: Plan, files: Iterable[File]) -> tuple[Object, ...]:
    """One ConfigMap for the settings, and one for each folder of files (the contract's source is the same everywhere).

    A changed file makes a new name and so new pods; the pods of before keep the old one. Raises Failure for files that
    are too large.
    """
    groups: dict[str, dict[str, str]] = {}
    for file in sorted(files, key=lambda one: one.path):
        folder, slash, _ = file.path.partition("/")
        groups.setdefault(folder if slash else "", {})[file.path] = file.content
    return tuple(_config_map(plan, folder, group) for folder, group in sorted(groups.items()))


def _config_map(plan: Plan, folder: str, contents: dict[str, str]) -> Object:
    data = {_key(path): content for path, content in contents.items()}
    assert len(data) == len(contents), f"two files of {folder!r} have one key"
    size = sum(len(key.encode()) + len(content.encode()) for key, content in data.items())
    if size > LIMIT:
        largest = max(contents, key=lambda path: len(contents[path]))
        raise Failure("config-too-large", f"the settings of stage `{plan.stage}` have {size} bytes, and Kubernetes "
                      f"takes {LIMIT} in one ConfigMap", hint=f"shorten what makes `{largest}` long: a system prompt, "
                      "messages or a template")
    part = re.sub(r"[^a-z0-9]+", "-", folder.lower()).strip("-") or "config"
    suffix = f"-{part}-{digest(data).removeprefix('sha256:')[:10]}"
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(plan, suffix), "immutable": True,
            "data": data}


def config_volume(name: str, maps: Iterable[Object], files: Iterable[File]) -> Object:
    """The volume in which the ConfigMaps' keys stand under the paths that the engine looks for."""
    paths = {_key(file.path): file.path for file in files}
    sources = [{"configMap": {"name": one["metadata"]["name"],
                              "items": [{"key": key, "path": paths[key]} for key in one["data"]]}} for one in maps]
    return {"name": name, "projected": {"defaultMode": 0o444, "sources": sources}}


def _key(path: str) -> str:
    """A path as a ConfigMap's key, which has no slashes. Ours have no two dots in a row, so none are taken for others.

    >>> _key("python/modelkit/__init__.py")
    'python..modelkit..__init__.py'
    """
    key = path.replace("/", "..")
    assert re.fullmatch(r"[-._a-zA-Z0-9]+", key) and len(key) <= _KEY_LONGEST, f"no key for {path}"
    return key
