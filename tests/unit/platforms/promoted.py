"""Every case of the clusters as a promotion is rendered for it: blue-green on Kubernetes, weights on KServe."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from modelkit.platforms.blue_green import Judges, blue_green, preview_url
from modelkit.platforms.manifests import Manifests
from modelkit.platforms.weighted import Version, versions_in, weighted
from tests.unit.platforms.cases import rendered
from tests.unit.platforms.written import manifests_of

IMAGE = "registry.example/modelkit@sha256:" + "1" * 64


def judges(made: Manifests) -> Judges:
    return Judges(IMAGE, {"Modelfile": "FROM x\n", "tests/tools.json": "[]"}, {
        "tests": ("test", "Modelfile", "--url", preview_url(made.plan)),
        "latency": ("bench", "Modelfile", "--url", preview_url(made.plan))})


def another(made: Manifests) -> Manifests:
    """The same with other contents, as after a change of the Modelfile."""
    first = next(file for file in made.files if file.path.startswith("configmap"))
    changed = replace(first, content=f"{first.content}# other\n")
    return replace(made, files=tuple(changed if file is first else file for file in made.files))


def folder(made: Manifests) -> tuple[Version, ...]:
    """The versions in what was rendered, as the next promotion reads them."""
    return versions_in({file.path: file.content for file in made.files})


FEW = ("replicas", "api-key", "odd-name", "cpu")
"""Cases that stand for the others where time counts."""


def promoted(cases: Iterable[str] = ()) -> Iterator[tuple[str, Manifests]]:
    """Some, or all of them, each with a name for messages."""

    def made_for(platform: str) -> Iterator[tuple[str, Manifests]]:
        return ((case, rendered(case, platform)) for case in cases) if cases else iter(manifests_of(platform).items())

    for case, made in made_for("kubernetes"):
        yield f"{case} blue-green, judged", blue_green(made, judges(made), 600)
        yield f"{case} blue-green", blue_green(made, None, 0)
    for case, made in made_for("kserve"):
        first = weighted(made, (), 100)
        yield f"{case} weighted, first", first
        yield f"{case} weighted, canary", weighted(another(made), folder(first), 10)
        yield f"{case} weighted, all", weighted(another(made), folder(first), 100)
