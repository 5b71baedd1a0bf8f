"""From words on the command line to a Modelfile, an address and the project's supervisor."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelkit.cli.terminal import Terminal
from modelkit.failure import Failure

if TYPE_CHECKING:
    from modelkit.language.diagnostic import Diagnostic
    from modelkit.language.modelfile import Modelfile
    from modelkit.language.source import Source
    from modelkit.planning.facts import Overrides
    from modelkit.planning.plan import Plan
    from modelkit.platforms.bundle import Bundle
    from modelkit.runtime.client import Client

API_KEY_VARIABLE = "MODELKIT_API_KEY"

Progress = Callable[[int, int | None, str], None]


def find(word: str | None) -> Path:
    """The Modelfile that a word names: a file, a folder that holds one, or (no word) the current folder's."""
    path = Path(word) if word else Path()
    if path.is_dir():
        plain = path / "Modelfile"
        if plain.is_file():
            return plain
        named = sorted(path.glob("*.Modelfile"))
        if len(named) == 1:
            return named[0]
        if named:
            raise Failure("several-modelfiles", f"{path.resolve()} holds {len(named)} Modelfiles",
                          hint="name one of " + ", ".join(str(p) for p in named))
        raise Failure("no-modelfile", f"there is no Modelfile in {path.resolve()}",
                      hint="write one (`FROM` and a model is enough), or name the file")
    if not path.exists():
        raise Failure("no-modelfile", f"{path} does not exist", hint="name a Modelfile, or a folder that holds one")
    return path


def all_of(words: list[str] | None) -> list[Path]:
    """The Modelfiles that the words name, each once; without a word, the current folder's."""
    found = {os.path.realpath(path): path for path in map(find, words or (None,))}
    return list(found.values())


def stage_of(arguments: Any) -> str:
    """-s, else MODELKIT_STAGE, else dev."""
    return str(arguments.stage or os.environ.get("MODELKIT_STAGE") or "dev")


@dataclass(frozen=True)
class Checked:
    """One file, read and checked. `modelfile` is None when a diagnostic is an error."""

    path: Path
    source: Source
    modelfile: Modelfile | None
    diagnostics: tuple[Diagnostic, ...]


def read(path: Path, given: Mapping[str, str] | None = None) -> Checked:
    """Read and check one file; what its comments leave out is not said. Raises Failure when it cannot be read."""
    from modelkit.language.check import compile_source
    from modelkit.language.outside import outside_of
    from modelkit.language.source import Source
    from modelkit.language.suppressions import suppress

    try:
        if path.stat().st_size > 4 * 1024 * 1024:
            raise Failure("too-large", f"{path} is larger than 4 MiB", hint="is it a Modelfile?")
        source = Source.read(path)
    except OSError as error:
        raise Failure("unreadable", f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from None
    modelfile, diagnostics = compile_source(source, outside_of(path, given))
    return Checked(path, source, modelfile, tuple(suppress(source, diagnostics, judged=())[0]))


def load(path: Path, terminal: Terminal, given: Mapping[str, str] | None = None) -> Modelfile:
    """The Modelfile at `path` with the values that its ARGs are `given`, its diagnostics said on stderr.

    Raises Failure (exit 1) when it has errors.
    """
    from modelkit.language.excerpt import as_json, as_text, summary

    checked = read(path, given)
    shown = [d for d in checked.diagnostics if d.rule.severity.value != "info"]
    if shown and not (terminal.quiet and checked.modelfile):
        for diagnostic in shown:
            print(as_text(diagnostic, checked.source, colour=terminal.colour) + "\n", file=terminal.stderr)
    if checked.modelfile is None:
        raise Failure("modelfile", f"{path} has {summary(checked.diagnostics)}", exit_code=1,
                      data={"diagnostics": [as_json(d, checked.source) for d in checked.diagnostics]})
    return checked.modelfile


def load_asked(arguments: Any, terminal: Terminal) -> Modelfile:
    """The one Modelfile that a command line names, with the values that it gives."""
    path = find(arguments.file)
    return load(path, terminal, given(arguments, path))


def given(arguments: Any, *sources: Source | Path) -> dict[str, str]:
    """What `--arg NAME=value` says. Raises Failure for what is not of that shape, and for a name that none of the
    Modelfiles declares."""
    found: dict[str, str] = {}
    for word in getattr(arguments, "arg", None) or ():
        name, equals, value = word.partition("=")
        if not equals:
            raise Failure("usage", f"`--arg {word}` has no value", hint=f"--arg {word}=…")
        found[name] = value
    if found:
        _presume_declared(found, sources)
    return found


def remembered(path: Path) -> dict[str, str]:
    """What `up --arg` gave a Modelfile that runs on this machine, of ARGs that it still has; nothing if it runs not."""
    from modelkit.language.checking.variables import arguments_of
    from modelkit.language.parser import parse
    from modelkit.language.source import Source
    from modelkit.runtime.client import connect

    if (client := connect(project_of(path))) is None:
        return {}
    with client:
        generations = [one for one in client.status()["generations"]
                       if one["modelfile"] in ("", os.path.realpath(path))]
        generations.sort(key=lambda one: bool(one["routed"]))  # what serves counts
        known = [client.plan(one["id"]).get("arguments", {}) for one in generations[-1:]]
    if not any(known):
        return {}
    declared = arguments_of(parse(Source.read(path))[0])
    return {name: value for one in known for name, value in one.items() if name in declared}


def _presume_declared(names: Iterable[str], sources: Sequence[Source | Path]) -> None:
    from modelkit.language.checking.variables import arguments_of
    from modelkit.language.diagnostic import did_you_mean
    from modelkit.language.parser import parse
    from modelkit.language.source import Source

    try:
        texts = [one if isinstance(one, Source) else Source.read(one) for one in sources]
    except OSError:
        return  # whoever reads it to compile it says why it can't be read
    declared = {name for one in texts for name in arguments_of(parse(one)[0])}
    for name in names:
        if name not in declared:
            near = did_you_mean(name, declared)
            raise Failure("unknown-arg", f"no ARG of {', '.join(one.name for one in texts)} is called `{name}`",
                          f"did you mean `{near}`?" if near else
                          "it declares " + ", ".join(sorted(declared)) if declared else "it declares none")


def overrides(arguments: Any) -> Overrides:
    """The last layer: the command line's address, else the environment's, and the key's variable."""
    from modelkit.planning.facts import Overrides

    port, origin = getattr(arguments, "port", None), "command line"
    if port is None and (text := os.environ.get("MODELKIT_PORT")):
        if not text.isdecimal() or not 0 < int(text) < 65536:
            raise Failure("bad-port", f"MODELKIT_PORT is `{text}`", hint="it must be from 1 to 65535")
        port, origin = int(text), "environment"
    key = f"env:{API_KEY_VARIABLE}" if os.environ.get(API_KEY_VARIABLE) else None
    return Overrides(port=port, port_origin=origin, host=getattr(arguments, "host", None), api_key=key)


def say_losses(plan: Plan, terminal: Terminal) -> None:
    """A line for each thing that the author wrote and the engine cannot honour."""
    from modelkit import platforms

    for item in platforms.lower(plan):
        if item.verdict == "lost":
            terminal.note(f"lost on {plan.engine_name}: {item.setting}: {item.reason}")


def key_of(reference: str | None) -> str | None:
    """The API key behind `env:NAME` or `file:path`; None when no key is asked for. Raises Failure when it is absent."""
    if reference is None:
        return None
    scheme, _, name = reference.partition(":")
    if scheme == "env":
        key = os.environ.get(name, "")
        if not key:
            raise Failure("api-key-missing", f"the API key is in {name}, which is not set", hint=f"export {name}=…")
        return key
    path = Path(name).expanduser()
    try:
        key = path.read_text("utf-8").strip()
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise Failure("api-key-missing", f"the API key's file {path} cannot be read: {why}") from None
    if not key:
        raise Failure("api-key-missing", f"the API key's file {path} is empty")
    return key


def base_url(host: str, port: int) -> str:
    """What a client on this machine sets OPENAI_BASE_URL to."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{port}/v1"


def project_of(path: Path) -> str:
    """The runtime's id of the project that a Modelfile runs in, or would."""
    from modelkit.runtime import client

    return client.project_of(path).id


def supervisor(path: Path, bundle: Bundle, terminal: Terminal) -> Client:
    """The project's supervisor at the plan's address, started where there is none."""
    return shared_supervisor([path], [bundle], terminal)


def shared_supervisor(paths: Sequence[Path], bundles: Sequence[Bundle], terminal: Terminal) -> Client:
    """The supervisor of Modelfiles that serve at one address, their plans' one. Raises Failure where they differ."""
    from modelkit.runtime.client import Project, connect, ensure, project_id
    from modelkit.runtime.edge.access import Access, allowed_hosts, key_hash

    project = project_of(paths[0]) if len(paths) == 1 else project_id(*paths)
    host, port, api_key, asked = _one_address(bundles)
    if not asked & {"command line", "environment"} and (there := connect(project)) is not None:
        with there:  # nobody asked for another address now: what runs keeps the one it has
            host, port = str(there.hello["host"]), int(there.hello["port"])
    key = key_of(api_key)
    hashes = (key_hash(key),) if key else ()  # what the edge compares with: never the key
    members = [os.path.realpath(path) for path in paths]
    if len(paths) > 1:
        _presume_alone(paths, project)
        Project(project).join(members)
    elif together := Project(project).members:
        members = list(together)
    return ensure(project, host=host, port=port, access=Access(hashes, allowed_hosts(host)), modelfiles=members,
                  on_event=lambda event: terminal.note(str(event.get("reason", event["event"]))))


def _one_address(bundles: Sequence[Bundle]) -> tuple[str, int, str | None, set[str]]:
    """Host, port and key of what was said, and who said it; what only a default says gives way."""
    found: dict[str, Any] = {"host": bundles[0].plan.host, "port": bundles[0].plan.port,
                             "api_key": bundles[0].plan.api_key}
    said: dict[str, Any] = {}
    kinds: set[str] = set()
    for bundle in bundles:
        for name in found:
            setting = bundle.plan.setting(f"serve.{name}")
            if setting is None or setting.origin.kind == "default":
                continue
            value = getattr(bundle.plan, name)
            if said.setdefault(name, value) != value:
                raise Failure("different-addresses", f"these Modelfiles say different things about `SERVE {name}`: "
                              f"{said[name]} and {value}", "Modelfiles at one address must agree; take it out of one")
            kinds |= {setting.origin.kind} if name != "api_key" else set()
    found |= said
    return found["host"], found["port"], found["api_key"], kinds


def _presume_alone(paths: Sequence[Path], project: str) -> None:
    from modelkit.runtime.client import connect

    for path in paths:
        if (there := project_of(path)) != project and (client := connect(there)) is not None:
            with client:
                raise Failure("runs-elsewhere", f"{path} runs at {client.endpoint} already",
                              f"`modelkit down {path}` first")


def running(word: str | None) -> Client:
    """The supervisor of a Modelfile's project. Raises Failure (exit 1) when nothing runs."""
    from modelkit.runtime.client import connect

    path = find(word)
    client = connect(project_of(path))
    if client is None:
        raise Failure("not-running", f"nothing of {path} is running", hint=f"modelkit up {path}", exit_code=1)
    return client


def drain(client: Client, seconds: float | None = None) -> None:
    """Let requests in flight finish, then stop everything; Ctrl-C meanwhile ends it at once."""
    from modelkit.runtime.client import connect

    try:
        client.down(seconds)
    except KeyboardInterrupt:
        if (hurried := connect(client.project)) is not None:
            with hurried:
                hurried.down(0, fast=True)
