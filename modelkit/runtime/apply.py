"""Runs the commands of a platform's own client, and says what went wrong in words that help."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from modelkit.failure import Failure
from modelkit.platforms.manifests import DIRECTORY, Client, Command
from modelkit.runtime.deployments import Deployment

Say = Callable[[str], None]

_PATIENCE = 15.0  # seconds that a client has to end after Ctrl-C
_TURN = 0.5  # seconds
_SHOWN = 200  # lines of a client's last words

_EXPLAINED: tuple[tuple[str, str], ...] = (
    (r"cannot connect to the docker daemon|docker daemon is not running", "start Docker, and look that `docker info` "
     "answers for this user"),
    (r"unknown command: docker compose|'compose' is not a docker command|unknown shorthand flag: 'f'|"
     r"unknown flag: --file", "install Docker's Compose plugin: https://docs.docker.com/compose/install/"),
    (r"could not select device driver|unresolvable CDI devices|nvidia.*not found", "install the NVIDIA Container "
     "Toolkit, or write `SERVE accelerator cpu`"),
    (r"port is already allocated|address already in use", "another program has the port: choose one with `SERVE port`, "
     "or --port"),
    (r"failed to connect to (user scope )?bus|no medium found", "systemd's manager of this user does not run: log in "
     "to a session, or `loginctl enable-linger`"),
    (r"no matches for kind|could not find the requested resource", "the cluster lacks that kind of object: install the "
     "platform's own definitions first"),
    (r"unable to connect to the server|connection refused|no configuration has been provided|current-context",
     "look which cluster the client talks to: `kubectl config current-context`"),
    (r"forbidden", "the user of this client may not do that: ask for the right, or choose another context"),
    (r"manifest unknown|not found: manifest|pull access denied|unauthorized", "look that this machine may pull the "
     "image: `docker login`"),
    (r"no such host|temporary failure in name resolution|i/o timeout", "look at the network"),
    (r"no space left on device", "free some disk space"),
)


@dataclass(frozen=True)
class Ran:
    """A command that has ended. `output` and `errors` are its lines."""

    command: Command
    code: int
    output: tuple[str, ...]
    errors: tuple[str, ...]


def presume_programs(client: Client, platform: str, stage: str) -> None:
    """Raise Failure unless everything that the commands need is on the PATH."""
    missing = [program for program in client.programs if shutil.which(program) is None]
    if missing:
        raise Failure("client-missing", f"platform {platform} is reached through `{missing[0]}`, which is not on the "
                      "PATH", hint=f"install {client.install or missing[0]}; or write the files for another machine: "
                      f"`modelkit build -s {stage} -o DIR`", data={"missing": missing})


def run(deployment: Deployment, commands: tuple[Command, ...], say: Say, secrets: Mapping[str, str] | None = None,
        ) -> list[Ran]:
    """Run commands one after another; `say` hears each line. Raises Failure at the first that fails.

    `secrets` are values for the variables that the client asks for; those that it does not get are empty words.
    """
    done = []
    for command in _placed(commands, deployment):
        ran = _run(command, deployment.bundle, _environment(deployment.client, secrets), say)
        if ran.code:
            raise failed(ran, deployment)
        done.append(ran)
    return done


def ask(deployment: Deployment, commands: tuple[Command, ...], seconds: float = 20.0, *,
        secrets: Mapping[str, str] | None = None) -> list[Ran]:
    """Run commands that only read, each no longer than that, whatever they answer."""
    environment = _environment(deployment.client, secrets)
    found = []
    for command in _placed(commands, deployment):
        try:
            done = subprocess.run(command, cwd=_folder(deployment.bundle), env=environment, stdin=subprocess.DEVNULL,
                                  capture_output=True, timeout=seconds, check=False)
        except subprocess.TimeoutExpired:
            found.append(Ran(command, 124, (), (f"{command[0]} did not answer in {seconds:.0f} seconds",)))
        except OSError as error:
            found.append(Ran(command, 127, (), (f"{command[0]}: {(error.strerror or str(error)).lower()}",)))
        else:
            found.append(Ran(command, done.returncode, *(tuple(said.decode("utf-8", "replace").splitlines())
                                                         for said in (done.stdout, done.stderr))))
    return found


def follow(deployment: Deployment, say: Say, *, tail: int | None, go_on: bool) -> None:
    """The logs: every line to `say`, from the client's own command. Raises Failure when it can't."""
    client, flags = deployment.client, list[str]()
    if go_on and client.follow:
        flags.append(client.follow)
    if tail is not None and client.tail:
        flags.append(f"{client.tail}={tail}")
    *before, last = client.logs
    # What the command says of both by itself gives way.
    words = tuple(word for word in last if not (go_on and word == "--no-follow")
                  and not (tail is not None and client.tail and word.startswith(f"{client.tail}=")))
    run(deployment, (*before, (*words[:_verbs(words)], *flags, *words[_verbs(words):])), say)


def failed(ran: Ran, deployment: Deployment) -> Failure:
    """What a failing client said, whole, and what to do about it."""
    said = ran.errors or ran.output
    text = "\n".join((*ran.errors, *ran.output))
    hint = next((hint for pattern, hint in _EXPLAINED if re.search(pattern, text, re.I)),
                f"the files are in {deployment.bundle}; the same command can be run by hand there")
    return Failure("client-failed", f"`{shown(ran.command)}` failed with {ran.code}", hint=hint, detail=said[-_SHOWN:],
                   data={"command": list(ran.command), "exit_code": ran.code})


def shown(command: Command) -> str:
    """A command for people: of a script only what it is about."""
    if command[:2] == ("sh", "-c"):
        return f"sh … {' '.join(command[4:])}"
    return " ".join(command)


def _verbs(words: Command) -> int:
    """Where flags may stand: behind the program and its verbs, before the first flag or argument of the verb."""
    return next((at + 1 for at, word in enumerate(words) if word == "logs"), 1)


def _placed(commands: tuple[Command, ...], deployment: Deployment) -> Iterator[Command]:
    for command in commands:
        yield tuple(word.replace(DIRECTORY, str(deployment.bundle)) for word in command)


def _environment(client: Client, secrets: Mapping[str, str] | None) -> dict[str, str]:
    """This process's own, with what the client reads from it. A client that only reads gets empty words: `docker
    compose` wants every variable of its file even then."""
    given = secrets or {}
    return {**os.environ, **{name: given.get(name, "-") for name in client.variables}}


def _folder(bundle: Path) -> Path | None:
    return bundle if bundle.is_dir() else None


def _run(command: Command, folder: Path, environment: Mapping[str, str], say: Say) -> Ran:
    """One command in a session of its own: a Ctrl-C reaches it once, through us, and it may end in peace."""
    try:
        process = subprocess.Popen(command, cwd=_folder(folder), env=dict(environment), stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    except OSError as error:
        raise Failure("client-missing", f"`{command[0]}` can't be run: {(error.strerror or str(error)).lower()}",
                      hint="look at its installation") from None
    try:
        output, errors = list[str](), list[str]()
        assert process.stdout is not None and process.stderr is not None
        readers = [threading.Thread(target=_read, args=(stream, lines, say), daemon=True)
                   for stream, lines in ((process.stdout, output), (process.stderr, errors))]
        for reader in readers:
            reader.start()
        _wait(process)
    except BaseException:
        _end(process)
        raise
    for reader in readers:
        reader.join(_PATIENCE)  # a grandchild may hold the pipe
    return replace(Ran(command, process.returncode, (), ()), output=tuple(output), errors=tuple(errors))


def _wait(process: subprocess.Popen[bytes]) -> None:
    """Until it ends, in turns: the kernel may give a Ctrl-C to another thread, and a wait without end hears nothing."""
    while process.returncode is None:
        with suppress(subprocess.TimeoutExpired):
            process.wait(_TURN)


def _read(stream: IO[bytes], lines: list[str], say: Say) -> None:
    for raw in stream:
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        lines.append(line)
        say(line)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end, then end it and whatever it has started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_PATIENCE)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # children that ignore the first, as a shell's in the background do
    process.wait()
