"""`modelkit engine install|list`."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from modelkit.cli.stages import engines_found
from modelkit.cli.terminal import Terminal
from modelkit.failure import Failure


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Make an engine's environment, or list the engines of this machine."""
    if arguments.action == "install":
        return _install(arguments, terminal)
    return _list(terminal)


def _install(arguments: Namespace, terminal: Terminal) -> int:
    from modelkit.runtime import environments

    if arguments.engine is None:
        raise Failure("usage", "which engine shall be installed?", hint="modelkit engine install vllm")
    if arguments.engine not in ("vllm", "ray"):
        llama = arguments.engine.startswith("llama")
        hint = "pip install 'modelkit-llm[llamacpp]'" if llama else "modelkit engine install vllm"
        raise Failure("unknown-engine", f"`{arguments.engine}` is not an engine that modelkit installs", hint=hint)
    wanted: dict[str, Any] = {"version": arguments.engine_version} if arguments.engine_version else {}
    environment = environments.install(arguments.engine, variant=arguments.variant, reinstall=arguments.reinstall,
                                       on_progress=terminal.note, **wanted)
    terminal.data(f"{environment.engine} {environment.version} ({environment.variant}) in {environment.path}")
    terminal.document(environment.as_json())
    return 0


def _list(terminal: Terminal) -> int:
    rows, documents = [], []
    for word, engine in engines_found().items():
        rows.append((word, engine.version, engine.variant, engine.provider, engine.command[0]))
        documents.append({"engine": word, **engine.model_dump(mode="json")})
    terminal.document(documents)
    if rows:
        terminal.table(("ENGINE", "VERSION", "VARIANT", "PROVIDER", "COMMAND"), rows)
    else:
        terminal.note("no engine is installed: pip install 'modelkit-llm[llamacpp]', or modelkit engine install vllm")
    return 0
