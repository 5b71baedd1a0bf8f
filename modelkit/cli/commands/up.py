"""`modelkit up`."""

from __future__ import annotations

import signal
import threading
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelkit.cli import changing, project
from modelkit.cli.commands import deploy
from modelkit.cli.narrator import Narrator
from modelkit.cli.stages import Stages
from modelkit.cli.terminal import Terminal
from modelkit.failure import Failure
from modelkit.runtime.service_manager import tell_ready

if TYPE_CHECKING:
    from modelkit.language.modelfile import Modelfile
    from modelkit.platforms.bundle import Bundle
    from modelkit.runtime.client import Client


class _Accepted(Exception):
    """The supervisor has begun; `up -d` need not stay."""


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Prepare the stage, start it behind the address; stay with it unless detached."""
    if arguments.wait and not arguments.detach:
        raise Failure("usage", "--wait goes with --detach", hint="without --detach, `up` stays anyway")
    paths, stage = project.all_of(arguments.files), _stage(arguments)
    given = project.given(arguments, *paths)
    modelfiles = [project.load(path, terminal, given) for path in paths]
    if arguments.dry_run:
        return _dry(modelfiles, stage, arguments, terminal)
    if arguments.plan:
        changing.presume_kept(arguments.plan, Stages(modelfiles[0], arguments), stage)
    elsewhere = [path for path, modelfile in zip(paths, modelfiles, strict=True)
                 if deploy.belongs(modelfile, stage, arguments)]
    if elsewhere and len(paths) == 1:
        return deploy.up(paths[0], modelfiles[0], stage, arguments, terminal)
    if elsewhere:
        raise Failure("several-modelfiles", f"{elsewhere[0]} runs on another platform, and only engines of this "
                      "machine's `process` can share an address", hint="bring it up by itself")
    from modelkit.platforms.bundle import presume_names_free

    with terminal.progress() as progress:
        bundles = [Stages(modelfile, arguments).prepare((stage,), progress, terminal)[0] for modelfile in modelfiles]
    for position, bundle in enumerate(bundles):
        project.say_losses(bundle.plan, terminal)
        presume_names_free(bundle, bundles[:position])
    _presume_room(paths, modelfiles, bundles, arguments, terminal)
    with project.shared_supervisor(paths, bundles, terminal) as client:
        if arguments.detach:
            return _detached(client, bundles, arguments, terminal)
        return _attached(client, bundles, terminal)


def _presume_room(paths: list[Path], modelfiles: list[Modelfile], bundles: list[Bundle], arguments: Namespace,
                  terminal: Terminal) -> None:
    """Hold what is not running yet against the memory that is free now."""
    from modelkit.cli.fit.fitting import presume_room
    from modelkit.runtime.client import connect

    client = connect(project.project_of(paths[0]))
    running = set()
    if client is not None:
        with client:
            running = {one["digest"] for one in client.status()["generations"]}
    for modelfile, bundle in zip(modelfiles, bundles, strict=True):
        if bundle.digest not in running:
            presume_room(Stages(modelfile, arguments), bundle.plan, terminal)


def _stage(arguments: Namespace) -> str:
    """The stage that is meant: a kept plan says its own."""
    if not arguments.plan:
        return project.stage_of(arguments)
    if arguments.dry_run or len(arguments.files or ()) > 1:
        raise Failure("usage", "--plan is of one Modelfile, and goes without --dry-run")
    return str(arguments.stage or changing.read(Path(arguments.plan))[1].stage)


def _dry(modelfiles: list[Modelfile], stage: str, arguments: Namespace, terminal: Terminal) -> int:
    """What it would do; it does nothing."""
    found = [changing.changes_of(Stages(modelfile, arguments), stage) for modelfile in modelfiles]
    for changes in found:
        terminal.data(f"{changes.model} ({changes.stage}) on {changes.platform}")
        changing.say(changes, terminal)
    documents = [changes.as_json() for changes in found]
    terminal.document(documents[0] if len(documents) == 1 else documents)
    return 0


def _detached(client: Client, bundles: list[Bundle], arguments: Namespace, terminal: Terminal) -> int:
    results = [_begun(client, bundle, arguments, terminal) for bundle in bundles]
    _say_address(results, bundles, client, terminal)
    return 0


def _begun(client: Client, bundle: Bundle, arguments: Namespace, terminal: Terminal) -> dict[str, Any]:
    events = Narrator(terminal)

    def hear(event: dict[str, Any]) -> None:
        events(event)
        if not arguments.wait:
            raise _Accepted

    try:
        return client.apply(bundle, hear, keep=True)
    except _Accepted:
        terminal.note("starting; `modelkit ps` shows when it is ready")
        return {"outcome": "starting", "stage": bundle.plan.stage, "endpoint": client.endpoint}


def _attached(client: Client, bundles: list[Bundle], terminal: Terminal) -> int:
    """Own the run until Ctrl-C, then drain; a second Ctrl-C ends it at once."""
    owner = _Owner(client, terminal)
    try:
        # The order is the promise: from here on, our death ends what we are about to start.
        running = client.status()["generations"]
        if not running:
            owner.attach()
        results = [client.apply(bundle, Narrator(terminal)) for bundle in bundles]
        _say_address(results, bundles, client, terminal)
        tell_ready()
        if running:
            terminal.note("it runs detached already; `modelkit down` stops it")
            return 0
        terminal.note("Ctrl-C drains and stops it")
        return owner.wait()
    except KeyboardInterrupt:
        owner.leave()
        return 130


class _Owner:
    """A second connection whose end is the end of the run."""

    def __init__(self, client: Client, terminal: Terminal) -> None:
        self._client, self._terminal = client, terminal
        self._ended = threading.Event()
        self._failure: Failure | None = None

    def attach(self) -> None:
        from modelkit.runtime.client import connect

        connection = connect(self._client.project)
        if connection is None:
            raise Failure("supervisor-died", "the supervisor went away", hint="run it again")
        attached = threading.Event()

        def own() -> None:
            try:
                with connection:
                    connection.attach(lambda event: self._hear(event, attached))
            except Failure as failure:
                self._failure = failure
            finally:
                attached.set()
                self._ended.set()

        threading.Thread(target=own, daemon=True).start()
        attached.wait()

    def wait(self) -> int:
        """Until the run ends, by whatever; raises KeyboardInterrupt for Ctrl-C and SIGTERM."""
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        while not self._ended.wait(0.5):
            pass
        if self._failure is not None:
            raise self._failure
        self._terminal.note("it was stopped")
        return 0

    def leave(self) -> None:
        """Drain; another Ctrl-C meanwhile kills."""
        self._terminal.note("draining; Ctrl-C again ends it at once")
        try:
            project.drain(self._client)
        except Failure as failure:
            if failure.code != "supervisor-died":  # gone is what was asked for
                raise

    def _hear(self, event: dict[str, Any], attached: threading.Event) -> None:
        attached.set()
        if event["event"] == "phase" and event["phase"] in ("backoff", "failed"):
            Narrator(self._terminal)(event)


def _say_address(results: list[dict[str, Any]], bundles: list[Bundle], client: Client, terminal: Terminal) -> None:
    url = f"{client.endpoint}/v1"
    documents = [{"outcome": result["outcome"], "stage": bundle.plan.stage, "model": bundle.plan.name, "base_url": url,
                  "engine": bundle.plan.engine_name, "digest": bundle.digest}
                 for result, bundle in zip(results, bundles, strict=True)]
    terminal.document(documents[0] if len(documents) == 1 else documents)
    for result, bundle in zip(results, bundles, strict=True):
        said = {"unchanged": "already up", "starting": "starting", "scaled": "scaled"}.get(result["outcome"], "up")
        terminal.data(f"{bundle.plan.name} ({bundle.plan.stage}, {bundle.plan.engine_name}) is {said}")
    plan = bundles[0].plan
    key = " -H 'Authorization: Bearer …'" if any(bundle.plan.api_key for bundle in bundles) else ""
    terminal.data(f"  address  {url}")
    terminal.data(f"  model    {', '.join(bundle.plan.name for bundle in bundles)}")
    path, example = _EXAMPLES[plan.task]
    terminal.data(f"  try      curl {url}{path}{key} -H 'Content-Type: application/json' \\")
    terminal.data(f"             -d '{{\"model\": \"{plan.name}\", {example}}}'")
    terminal.data(f"  shell    eval \"$(modelkit env {_shown(plan.modelfile)})\"")
    terminal.data(f"  stop     modelkit down {_shown(plan.modelfile)}")


_EXAMPLES = {"chat": ("/chat/completions", '"messages": [{"role": "user", "content": "Hello"}]'),
             "embed": ("/embeddings", '"input": "Hello"'),
             "rerank": ("/rerank", '"query": "Where?", "documents": ["Here.", "Now."]')}


def _shown(modelfile: str) -> str:
    import shlex

    return shlex.quote(str(Path(modelfile)))
