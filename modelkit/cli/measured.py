"""What `bench` and `eval` both write down: who answered, and a file."""

from __future__ import annotations

import json
import os
import tempfile
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelkit.cli import project
from modelkit.failure import Failure

if TYPE_CHECKING:
    from modelkit.cli.targets import Asked
    from modelkit.models.convert.tool import Tool
    from modelkit.release.bench.document import Subject
    from modelkit.release.evaluation.run import Outside
    from modelkit.release.evaluation.tasks import Runner


def subject(asked: Asked, arguments: Namespace) -> Subject:
    """Who answers, by digests where it runs here."""
    from modelkit.models.digests import file_digest
    from modelkit.release.bench.document import Subject

    plan = asked.plan
    if plan is None:
        return Subject(model=asked.target.model, url=asked.target.base_url)
    weights, quantize = plan.weights, plan.setting("quantize")
    return Subject(
        model=asked.target.model, stage=asked.stage, engine=plan.engine_name,
        version=plan.engine.version if plan.engine else None, launch=asked.digest,
        modelfile=file_digest(project.find(arguments.file)), weights=weights.digest if weights else None,
        quantization=str(quantize.value) if quantize else plan.shape.precision or None)


@contextmanager
def runners() -> Iterator[Outside]:
    """lm-eval and Inspect, looked for when a task needs them. Raises Failure then, where they are not installed."""
    from modelkit.release.evaluation.run import Outside

    with tempfile.TemporaryDirectory(prefix="modelkit-eval-") as work:
        yield Outside(tool, Path(work))


def tool(runner: Runner) -> Tool:
    """The environment of a runner of tasks. Raises Failure."""
    from modelkit.runtime import environments

    assert runner != "modelkit", "that needs no environment"
    if (found := environments.find_tool(runner)) is None:
        raise Failure("tool-missing", f"{runner} is not installed", hint=f"modelkit tool install {runner}")
    return found


def write_out(document: dict[str, Any], name: str | None) -> None:
    """A document into the file that `--out` names, whole or not at all. Raises Failure."""
    if name is None:
        return
    path = Path(name)
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        draft.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise Failure("unwritable", f"{path} cannot be written: {(error.strerror or str(error)).lower()}") from None
