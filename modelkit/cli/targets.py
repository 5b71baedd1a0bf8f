"""How `test`, `parity`, `bench` and `eval` are told whom to ask: a stage that runs here, or an address."""

from __future__ import annotations

import hashlib
import json
import os
from argparse import Namespace
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from modelkit.cli import project
from modelkit.cli.terminal import Terminal
from modelkit.failure import Failure

if TYPE_CHECKING:
    from modelkit.planning.plan import Plan
    from modelkit.release.client import Target


@dataclass(frozen=True)
class Asked:
    """Whom a command asks. `stage`, `plan` and `digest` (of what was launched) are known of engines that run here."""

    target: Target
    stage: str | None = None
    plan: Plan | None = None
    digest: str | None = None


def target_of(arguments: Namespace, terminal: Terminal) -> Target:
    """Whom the words name. Raises Failure when nobody is there to be asked."""
    return asked_of(arguments, terminal).target


def asked_of(arguments: Namespace, terminal: Terminal) -> Asked:
    """The same, with what is known of an engine that runs here. Raises Failure."""
    if arguments.url:
        return Asked(at_url(arguments.url, arguments, terminal), arguments.stage or os.environ.get("MODELKIT_STAGE"))
    for name in ("model", "api_key_env"):
        if getattr(arguments, name, None):
            raise Failure("usage", f"`--{name.replace('_', '-')}` goes with `--url`")
    path = project.find(arguments.file)
    return running(path, arguments.stage or os.environ.get("MODELKIT_STAGE"))


def at_url(url: str, arguments: Namespace, terminal: Terminal) -> Target:
    """An OpenAI endpoint by its address. Raises Failure for what is no address, and for a key that is not there."""
    from modelkit.release.client import Target

    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Failure("usage", f"`{url}` is no address", hint="for example --url http://127.0.0.1:8484/v1")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise Failure("usage", "an address has no user, query or fragment",
                      hint=f"put the key into the environment, as {project.API_KEY_VARIABLE}")
    base = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/') or '/v1'}"
    return Target(base, _model(arguments, terminal), _key(getattr(arguments, "api_key_env", None)))


def running(path: Path, stage: str | None) -> Asked:
    """The engine of a stage that runs under a Modelfile's supervisor and is ready, the newest one; without a stage
    the one that serves. Raises Failure (exit 1) when there is none."""
    from modelkit.planning.plan import Plan
    from modelkit.release.client import Target
    from modelkit.runtime.client import connect

    client = connect(project.project_of(path))
    if client is None:
        raise _nothing(path, stage)
    with client:
        found = _generation(client.status()["generations"], path, stage)
        plan = Plan.model_validate(client.plan(found["id"]))
    target = Target("http://engine/v1", str(found["name"]), socket=str(found["socket"]))
    return Asked(target, str(found["stage"]), plan, str(found["digest"]))


@dataclass(frozen=True)
class Spoken:
    """What an endpoint says of itself. `width`: conversations at once; `said`: the document, empty if it has none."""

    dialect: Literal["modelkit", "openai"]
    width: int | None = None
    said: dict[str, Any] = field(default_factory=dict)


def spoken(asked: Asked) -> Spoken:
    """Whether modelkit's contract answers there, and how wide the engine behind it is. Raises no Failure: who does not
    say is asked as OpenAI's endpoint is."""
    if asked.plan is not None:
        return Spoken("modelkit", asked.plan.max_concurrency)
    import urllib3

    from modelkit.contract.effective import PATH, Effective

    target = asked.target
    headers = {"Authorization": f"Bearer {target.key}"} if target.key else {}
    try:
        answer = urllib3.request("GET", target.base_url.removesuffix("/v1") + PATH, headers=headers, timeout=10,
                                 retries=False, redirect=False)
        document = json.loads(answer.data)
        return Spoken("modelkit", Effective.from_json(document).max_concurrency, document)
    except (urllib3.exceptions.HTTPError, ValueError, TypeError, AttributeError):
        return Spoken("openai")


def identity(asked: Asked) -> str | None:
    """A digest of the very model that answers there: its weights', or of what an engine elsewhere says that it has;
    None where it does not say."""
    if asked.plan is not None:
        weights = asked.plan.weights
        return weights.digest if weights is not None else None
    said = spoken(asked).said
    if not said.get("model"):
        return None
    known = {name: said.get(name) for name in ("model", "revision", "template", "adapters")}
    return "sha256:" + hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


def _generation(generations: list[dict[str, Any]], path: Path, stage: str | None) -> dict[str, Any]:
    ours = [one for one in generations if one["modelfile"] in ("", os.path.realpath(path))]
    fitting = [one for one in ours if (one["stage"] == stage if stage else one["routed"])]
    if ready := [one for one in fitting if one["phase"] == "ready"]:
        return max(ready, key=lambda one: int(one["id"]))
    if fitting:
        raise Failure("not-ready", f"stage `{fitting[-1]['stage']}` is {fitting[-1]['phase']}, not ready",
                      hint="`modelkit ps` says what it waits for", exit_code=1)
    if stage and (others := sorted({str(one["stage"]) for one in ours})):
        raise Failure("not-running", f"stage `{stage}` of {path} is not running here; {', '.join(others)} is",
                      hint=f"`-s {others[0]}`, or `modelkit up -d --wait -s {stage}`", exit_code=1)
    raise _nothing(path, stage)


def _nothing(path: Path, stage: str | None) -> Failure:
    asked = f" -s {stage}" if stage else ""
    of = f"stage `{stage}` of {path}" if stage else str(path)
    return Failure("not-running", f"no engine of {of} is running here", exit_code=1,
                   hint=f"`modelkit up -d --wait{asked}` starts one; `--url http://…/v1` asks one that runs elsewhere")


def _model(arguments: Namespace, terminal: Terminal) -> str:
    if arguments.model:
        return str(arguments.model)
    try:
        path = project.find(getattr(arguments, "file", None))
    except Failure:
        raise Failure("usage", "which model is it at that address?", hint="--model NAME") from None
    quiet = Terminal(quiet=True, stderr=terminal.stderr)
    return str(project.load(path, quiet, project.given(arguments, path)).name.value)


def _key(variable: str | None) -> str | None:
    if variable is None:
        return os.environ.get(project.API_KEY_VARIABLE) or None
    return project.key_of(f"env:{variable}")
