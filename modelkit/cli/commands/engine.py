"""`modelkit engine install|list|rm|diff`."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any

from modelkit.cli.stages import LLAMA, engines_found, llama_found
from modelkit.cli.terminal import Terminal, amount
from modelkit.failure import Failure

if TYPE_CHECKING:
    from modelkit.engines.flags.table import FlagTable


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Make or remove an engine's environment, list the engines of this machine, or compare two versions' flags."""
    if arguments.versions and arguments.action != "diff":
        raise Failure("usage", f"`engine {arguments.action}` takes one engine",
                      hint=f"modelkit engine {arguments.action} vllm --version {arguments.versions[0]}")
    return {"install": _install, "list": _list, "rm": _remove, "diff": _diff}[arguments.action](arguments, terminal)


def _install(arguments: Namespace, terminal: Terminal) -> int:
    from modelkit.engines.requirements import SETS
    from modelkit.runtime import environments

    if arguments.engine is None:
        raise Failure("usage", "which engine shall be installed?",
                      hint="modelkit engine install vllm, or modelkit engine install llama.cpp")
    if arguments.engine not in {one.engine for one in SETS}:
        llama = arguments.engine.startswith("llama")
        hint = f"modelkit engine install {'llama.cpp' if llama else 'vllm'}"
        raise Failure("unknown-engine", f"`{arguments.engine}` is not an engine that modelkit installs", hint=hint)
    wanted: dict[str, Any] = {"version": arguments.engine_version} if arguments.engine_version else {}
    environment = environments.install(arguments.engine, variant=arguments.variant, reinstall=arguments.reinstall,
                                       offline=arguments.offline, on_progress=terminal.note, **wanted)
    terminal.data(f"{environment.engine} {environment.version} ({environment.variant}) in {environment.path}")
    terminal.document(environment.as_json())
    return 0


def _list(arguments: Namespace, terminal: Terminal) -> int:
    """Every environment, and every llama.cpp as it is found; a `*` where a stage without a version takes it."""
    from modelkit.engines.llama_providers import taken as choice
    from modelkit.engines.llama_providers import why
    from modelkit.runtime import environments

    rows, documents = [], []
    llama, installed = llama_found(), environments.installed()
    found, chosen = engines_found(llama), {word: choice(llama, word) for word in LLAMA}
    for provider in llama:
        engine = provider.engine
        if engine.command[0] in {one.command for one in installed}:
            continue  # it comes below, with its pins
        words = [word for word in LLAMA if chosen[word] is provider]
        rows.append(("*" if words else "", " ".join(words) or "llama.cpp", engine.version, engine.variant,
                     engine.provider, "", "", engine.command[0]))
        documents.append({"engine": words[0] if words else engine.name, "taken": bool(words),
                          "where": provider.where, **engine.model_dump(mode="json")})
    for one in installed:
        taken = one.engine in found and one.command == found[one.engine].command[0]
        rows.append(("*" if taken else "", one.engine, one.version, one.variant, "environment",
                     one.requirements.removeprefix("sha256:")[:12], amount(one.size) if one.size else "", one.command))
        documents.append({"name": one.engine, "provider": "environment", "taken": taken,
                          **one.as_json(), "command": [one.command]})
    terminal.document(documents)
    for word in LLAMA:
        if (first := chosen[word]) is not None:
            terminal.note(f"{word} is {first}: {why(llama, first, word)}")
    if rows:
        terminal.table(("", "ENGINE", "VERSION", "VARIANT", "PROVIDER", "PINS", "SIZE", "COMMAND"), rows)
    else:
        terminal.note("no engine is installed: modelkit engine install llama.cpp, modelkit engine install vllm")
    return 0


def _remove(arguments: Namespace, terminal: Terminal) -> int:
    from modelkit.runtime.removal import remove

    if arguments.engine is None:
        raise Failure("usage", "which engine shall be removed?", hint="modelkit engine rm vllm --version 0.31.0")
    gone = remove(arguments.engine, arguments.engine_version, arguments.variant)
    for one in gone:
        terminal.data(f"removed {one.engine} {one.version} ({one.variant}) from {one.path}")
    terminal.document([one.as_json() for one in gone])
    return 0


def _diff(arguments: Namespace, terminal: Terminal) -> int:
    from modelkit.engines.flags.compare import compare

    if arguments.engine is None or len(arguments.versions) != 2:
        raise Failure("usage", "which two versions of which engine?", hint="modelkit engine diff vllm 0.32 0.33")
    old, new = (_table(arguments.engine, version) for version in arguments.versions)
    changes = compare(old, new)
    terminal.document({"schema": "modelkit.engine-diff/1", "engine": old.engine, "from": old.version,
                       "to": new.version, "changes": [one.as_json() for one in changes]})
    for one in changes:
        terminal.data(f"{one.kind:<11} {one.message}")
    terminal.note(f"{old.engine} {old.version} to {new.version}: {len(changes)} changes of {len(old.flags)} flags")
    return 0


def _table(engine: str, version: str) -> FlagTable:
    from modelkit.engines.flags import table, versions

    found = table(engine, version)
    if found is None:
        known = versions(engine)
        raise Failure("engine-version-unknown", f"there is no flag table of {engine} {version}",
                      hint=f"there are tables of {', '.join(known)}" if known else "there is none of that engine")
    return found
