"""The two sides of `modelkit parity`: an engine that runs, an address, vLLM's renderer, or a stage's files."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from modelkit.cli import project, targets
from modelkit.cli.terminal import Terminal
from modelkit.failure import Failure

if TYPE_CHECKING:
    from modelkit.cli.stages import Stages
    from modelkit.platforms.bundle import Bundle
    from modelkit.release.client import Target
    from modelkit.release.parity import Conversation, Rendering

How = Literal["engine", "url", "renderer", "files"]


@dataclass(frozen=True)
class Side:
    """One side, ready to be asked. `target` is set where it answers, too."""

    name: str
    how: How
    render: Callable[[Conversation], Rendering]
    target: Target | None = None
    profile: Mapping[str, Any] = field(default_factory=dict)  # what is known of how its answers are read

    def __str__(self) -> str:
        said = {"engine": "the engine that runs", "url": "asked at its address", "renderer": "vLLM's renderer",
                "files": "its files, without an engine"}
        return f"{self.name}: {said[self.how]}"


class Sides:
    """Makes sides for one command; what it started ends with the stack."""

    def __init__(self, arguments: Namespace, terminal: Terminal, stack: ExitStack,
                 conversations: Sequence[Conversation], stages: Stages | None, *, names: Sequence[str]) -> None:
        self._arguments, self._terminal, self._stack = arguments, terminal, stack
        self._conversations, self._stages, self._names = conversations, stages, names
        self._bundles: dict[str, Bundle] = {}

    def of_url(self, which: str) -> Side:
        """The OpenAI endpoint of `--left-url` or `--right-url`, which tokenizes as vLLM and llama-server do. Raises
        Failure for another."""
        said = Namespace(model=getattr(self._arguments, f"{which}_model"), file=self._arguments.file, arg=None,
                         api_key_env=getattr(self._arguments, f"{which}_key_env"))
        target = targets.at_url(getattr(self._arguments, f"{which}_url"), said, self._terminal)
        return Side(target.base_url, "url", _of_address(target), target)

    def of_stage(self, stage: str) -> Side:
        """The stage as it runs here; where it does not, an engine or vLLM's renderer if asked for, else its files."""
        assert self._stages is not None
        arguments, path = self._arguments, Path(self._stages.modelfile.path)
        if not arguments.files and (running := _running(path, stage)) is not None:
            target, profile = running
            return Side(stage, "engine", _of_engine(target, profile.get("task", "chat")), target, profile)
        if arguments.start:
            return self._started(stage, path)
        if arguments.render and (plan := self._stages.plan(stage)).engine_name == "vllm":
            return self._rendered(stage, plan.name)
        return self._of_files(stage)

    def _started(self, stage: str, path: Path) -> Side:
        """An engine beside what serves, for as long as the command goes on; a supervisor of its own ends with it."""
        from modelkit.cli.narrator import Narrator
        from modelkit.release.client import Target
        from modelkit.runtime.client import connect

        bundle = self._bundle(stage, path)
        if (before := connect(project.project_of(path))) is not None:
            before.close()
        client = self._stack.enter_context(project.supervisor(path, bundle, self._terminal))
        if before is None:
            self._stack.callback(client.down, 0)
        self._terminal.note(f"{stage}: {bundle.plan.engine_name}")
        narrate = Narrator(self._terminal)
        started = client.start(bundle, narrate)
        if before is not None:
            self._stack.callback(client.stop, started["generation"], drain=0)
        target = Target("http://engine/v1", bundle.plan.name, socket=str(started["socket"]))
        return Side(stage, "engine", _of_engine(target, bundle.plan.task), target, bundle.plan.profile)

    def _bundle(self, stage: str, path: Path) -> Bundle:
        """Of all stages that are to be started at once: one that can't be says so before another has begun."""
        assert self._stages is not None
        if stage not in self._bundles:
            idle = [name for name in self._names if _running(path, name) is None]
            with self._terminal.progress() as progress:
                made = self._stages.prepare(idle, progress, self._terminal)
            self._bundles.update(zip(idle, made, strict=True))
        return self._bundles[stage]

    def _rendered(self, stage: str, name: str) -> Side:
        from modelkit.cli.renderer import renderer
        from modelkit.engines.call import call
        from modelkit.release.parity.engine import engine_side

        assert self._stages is not None
        with self._terminal.progress() as progress:
            _, plan = self._stages.ready(stage, progress)
        if plan.engine is None:
            raise Failure("engine-missing", "vLLM is not installed here", "modelkit engine install vllm")
        self._terminal.note(f"{stage}: starting vLLM's renderer")
        socket = self._stack.enter_context(renderer(plan))
        return Side(stage, "renderer", engine_side(lambda path, body: call(socket, path, body), name))

    def _of_files(self, stage: str) -> Side:
        from modelkit.cli.rendered import files_of
        from modelkit.release.parity.files import files_side

        assert self._stages is not None
        try:
            return Side(stage, "files", files_side(files_of(self._stages, stage), self._conversations))
        except Failure as failure:
            if failure.code in ("no-conversation", "prompt-in-code"):
                failure.hint = f"start it (`modelkit up -d --wait -s {stage}`), and it is asked itself"
            raise


def _running(path: Path, stage: str) -> tuple[Target, Mapping[str, Any]] | None:
    """Whom to ask for a stage, and its profile; None where it does not run or is not ready."""
    try:
        asked = targets.running(path, stage)
    except Failure as failure:
        if failure.code in ("not-running", "not-ready"):
            return None
        raise
    return asked.target, asked.plan.profile if asked.plan else {}


def _of_engine(target: Target, task: str) -> Callable[[Conversation], Rendering]:
    from modelkit.engines.call import call
    from modelkit.release.parity.engine import engine_side

    socket = target.socket
    assert socket is not None, "an engine that runs here has a socket"
    return engine_side(lambda path, body: call(socket, path, body), target.model, task)


def _of_address(target: Target) -> Callable[[Conversation], Rendering]:
    """llama-server tokenizes texts only: what it says of a conversation tells which of the two this is."""
    from modelkit.release.parity.engine import engine_side, llama_server_side

    ask = _asker(target)
    try:
        answer: dict[str, Any] = ask("/tokenize", {"model": target.model, "messages": [
            {"role": "user", "content": "Hi"}]})
    except Failure as failure:
        if failure.code == "engine-unreachable":
            raise
        answer = {}
    if "count" in answer:
        return engine_side(ask, target.model)
    if "tokens" in answer:
        return llama_server_side(ask)
    raise Failure("no-tokens", f"{target.base_url} does not say the tokens of a conversation",
                  "vLLM and llama-server have /tokenize; of modelkit's own address ask a stage by its name instead")


def _asker(target: Target) -> Callable[[str, dict[str, Any]], dict[str, Any]]:
    import httpx

    root = target.base_url.removesuffix("/v1")
    headers = {"Authorization": f"Bearer {target.key}"} if target.key else {}
    client = httpx.Client(headers=headers, trust_env=False, timeout=httpx.Timeout(120.0, connect=10.0))

    def ask(path: str, body: dict[str, Any]) -> dict[str, Any]:
        try:
            answer = client.post(root + path, json=body)
        except httpx.HTTPError as error:
            raise Failure("engine-unreachable", f"{root} did not answer {path}: {str(error) or 'no reason given'}",
                          "is the address right, and does it run?") from None
        try:
            said = answer.json()
        except ValueError:
            said = None
        if answer.status_code >= 500 or answer.status_code in (401, 403):
            raise Failure("engine-unreachable", f"{root} answered {path} with {answer.status_code}",
                          f"the key goes into {project.API_KEY_VARIABLE}" if answer.status_code < 500 else None)
        if answer.status_code >= 400 or not isinstance(said, dict):
            problem = said.get("error") if isinstance(said, dict) else None
            why = problem.get("message") if isinstance(problem, dict) else answer.text[:200]
            raise Failure("engine-refused", f"the engine answered {path} with {answer.status_code}: {why}")
        return said

    return ask
