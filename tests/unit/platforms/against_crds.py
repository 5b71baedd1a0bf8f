"""Hold what is written for clusters against the definitions of custom resources themselves:

    python -m tests.unit.platforms.against_crds FOLDER

FOLDER has CustomResourceDefinitions as YAML, as `kubectl get crd NAME -o yaml` prints them or a project ships them.
Unknown fields count as faults, though a cluster would drop them in silence.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.unit.platforms.promoted import promoted
from tests.unit.platforms.shapes import Schema, faults
from tests.unit.platforms.written import every, objects


def definitions(folder: Path) -> dict[tuple[str, str], Schema]:
    """By version and kind: the schemas, closed."""
    found = {}
    for path in sorted(folder.rglob("*.y*ml")):
        text = re.sub(r"\{\{-?|-?\}\}", "", path.read_text("utf-8"))  # charts ship them as templates
        for one in yaml.load_all(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            if not isinstance(one, dict) or one.get("kind") != "CustomResourceDefinition":
                continue
            for version in one["spec"]["versions"]:
                schema = strict(version["schema"]["openAPIV3Schema"])
                schema["properties"]["metadata"] = {"type": "object"}
                found[f"{one['spec']['group']}/{version['name']}", one["spec"]["names"]["kind"]] = schema
    return found


def strict(schema: Any) -> Any:
    """A schema that takes no unknown field, but where it says that it keeps them."""
    if isinstance(schema, list):
        return [strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(one) for key, one in schema.items()}
    if made.get("x-kubernetes-int-or-string"):
        made.pop("type", None)
    if isinstance(made.get("properties"), dict) and not made.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    return made


def main(folder: str) -> int:
    known, seen, wrong = definitions(Path(folder)), set(), 0
    for name, manifests in (*every(), *promoted()):
        for path, one in objects(manifests).items():
            kind = (one["apiVersion"], one["kind"])
            if kind not in known:
                continue
            seen.add(kind)
            for fault in faults(one, known[kind]):
                wrong += 1
                print(f"{name}: {path} {fault}")
    for version, kind in sorted(seen):
        print(f"held against {version} {kind}")
    return 1 if wrong or not seen else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
