"""The command that starts an engine, found in a shell's text or in the words of a command line.

Reads what people paste: line continuations, comments, quotes, variables set before the command, `docker run`. Runs
nothing and expands nothing; `$NAME` stays as it is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Literal

from modelkit.exchange.losses import one_line
from modelkit.failure import Failure

EngineName = Literal["vllm", "llama-server"]

_OPERATOR = re.compile(r"[;&|()\n]+")
_REDIRECTION = re.compile(r"\d*(?:&>>?|<<?<?|>[>|]?)&?[ \t]*")
_VARIABLE = re.compile(r"\$\{[^}\n]{0,200}\}")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
MOST_WORDS = 4000
_LLAMA_SERVER = re.compile(r"llama-server[\w.-]*?(\.exe)?")
_RUNTIMES = ("docker", "podman", "nerdctl")
_NO_VALUE = frozenset(("--rm", "-d", "--detach", "-i", "--interactive", "-t", "--tty", "-it", "-ti", "-dit", "-itd",
                       "--init", "--privileged", "--read-only", "--no-healthcheck", "-P", "--publish-all"))
_SHORT = {"-e": "--env", "-v": "--volume", "-p": "--publish"}


@dataclass(frozen=True)
class Command:
    """What starts an engine: its arguments, the variables set for it, the container image that it runs in."""

    engine: EngineName
    words: tuple[str, ...]
    variables: tuple[str, ...] = ()  # `NAME=value`
    image: str = ""
    mounts: tuple[str, ...] = ()  # `host:container[:options]`
    ports: tuple[str, ...] = ()  # `[address:]host:container`
    options: tuple[str, ...] = ()  # of the container, what else was said


def find_command(words: Sequence[str] | str, where: str) -> Command:
    """The first command that starts an engine that we know. Raises Failure where there is none."""
    commands = list(split(words)) if isinstance(words, str) else [list(words)]
    for command in commands:
        if len(command) > MOST_WORDS:
            raise Failure("too-large", f"{where} holds a command of {len(command)} words", hint="is it a command line?")
        if (found := _engine_of(command)) is not None:
            return found
    shown = f"; it starts with `{one_line(commands[0][0], 40)}`" if commands and commands[0] else ""
    raise Failure("no-engine-command", f"{where} starts neither vLLM nor llama-server{shown}",
                  hint="it has to hold `vllm serve …`, `llama-server …`, or a `docker run` of one of their images")


def split(text: str) -> Iterator[list[str]]:
    """The simple commands of a shell's text, each as its words, quotes and continuations resolved.

    >>> list(split("A=1 run --x 'a b' \\\\\\n --y # why\\nthen; again"))
    [['A=1', 'run', '--x', 'a b', '--y'], ['then'], ['again']]
    """
    words: list[str] = []
    at, text = 0, text.replace("\r\n", "\n")
    while at < len(text):
        character = text[at]
        if character in " \t\r" or text.startswith("\\\n", at):
            at += 2 if character == "\\" else 1
        elif character == "#":
            at = _line_end(text, at)
        elif (redirection := _REDIRECTION.match(text, at)) is not None:
            _, at = _word(text, redirection.end())  # its file is no word of the command
        elif (operator := _OPERATOR.match(text, at)) is not None:
            at = operator.end()
            if words:
                yield words
            words = []
        else:
            word, at = _word(text, at)
            words.append(word)
    if words:
        yield words


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end


def _word(text: str, at: int) -> tuple[str, int]:
    """The word that begins at `at`, and where it ends. An open quote ends with the text."""
    parts: list[str] = []
    while at < len(text) and text[at] not in " \t\r\n;&|()<>":
        character = text[at]
        if character == "'":
            end = text.find("'", at + 1)
            end = len(text) if end < 0 else end
            parts.append(text[at + 1 : end])
            at = end + 1
        elif character == '"':
            part, at = _quoted(text, at + 1)
            parts.append(part)
        elif character == "\\":
            parts.append("" if text[at + 1 : at + 2] == "\n" else text[at + 1 : at + 2])
            at += 2
        elif character == "$" and (variable := _VARIABLE.match(text, at)) is not None:
            parts.append(variable[0])
            at = variable.end()
        else:
            parts.append(character)
            at += 1
    return "".join(parts), at


def _quoted(text: str, at: int) -> tuple[str, int]:
    parts: list[str] = []
    while at < len(text) and text[at] != '"':
        if text[at] == "\\" and text[at + 1 : at + 2] in ('"', "\\", "$", "`", "\n"):
            parts.append("" if text[at + 1] == "\n" else text[at + 1])
            at += 2
        else:
            parts.append(text[at])
            at += 1
    return "".join(parts), at + 1


def _engine_of(words: Sequence[str]) -> Command | None:
    """The command as an engine's, whatever stands before it; None for one of something else."""
    variables, rest = _assignments(words)
    while rest and PurePosixPath(rest[0]).name in ("env", "exec", "sudo", "nohup", "time", "uv", "uvx", "run", "-E"):
        more, rest = _assignments(rest[1:])
        variables += more
    if not rest:
        return None
    program = re.split(r"[/\\]", rest[0])[-1]
    if program in _RUNTIMES:
        return _contained(rest)
    if program == "vllm":
        return Command("vllm", tuple(rest[2:]), tuple(variables)) if rest[1:2] == ["serve"] else None
    if _LLAMA_SERVER.fullmatch(program):
        return Command("llama-server", tuple(rest[1:]), tuple(variables))
    if program.startswith("python") and rest[1:3] == ["-m", "vllm.entrypoints.openai.api_server"]:
        return Command("vllm", tuple(rest[3:]), tuple(variables))
    return None


def _assignments(words: Sequence[str]) -> tuple[list[str], list[str]]:
    count = next((i for i, word in enumerate(words) if not _ASSIGNMENT.match(word)), len(words))
    return list(words[:count]), list(words[count:])


def _contained(words: Sequence[str]) -> Command | None:
    """`docker run [options] image [arguments]`."""
    if "run" not in words[1:3]:
        return None
    at = words.index("run") + 1
    said: dict[str, list[str]] = {"--env": [], "--volume": [], "--publish": [], "--entrypoint": []}
    others: list[str] = []
    while at < len(words) and words[at].startswith("-"):
        option, equals, value = words[at].partition("=")
        at += 1
        if not equals and option not in _NO_VALUE:
            value = words[at] if at < len(words) else ""
            at += 1
        option = _SHORT.get(option, option)
        if option in said:
            said[option].append(value)
        else:
            others.append(f"{option} {value}".rstrip())
    if at >= len(words):
        return None
    found = of_image(words[at], words[at + 1 :], entrypoint="".join(said["--entrypoint"][-1:]),
                     variables=said["--env"], mounts=said["--volume"], ports=said["--publish"])
    return None if found is None else replace(found, options=tuple(others))


def of_image(image: str, words: Iterable[str], *, entrypoint: str = "", variables: Iterable[str] = (),
             mounts: Iterable[str] = (), ports: Iterable[str] = ()) -> Command | None:
    """What a container of an image runs: by the command, the entry point, or the image's own name."""
    arguments = list(words)
    around = Command("vllm", (), tuple(variables), image, tuple(mounts), tuple(ports))
    named = _engine_of(arguments) or (_engine_of([entrypoint, *arguments]) if entrypoint else None)
    if named is not None:
        return replace(around, engine=named.engine, words=named.words,
                       variables=(*around.variables, *named.variables))
    repository = image.partition("@")[0].lower()
    if re.search(r"(^|/)vllm[\w.-]*(:|$)", repository):
        return replace(around, words=tuple(arguments))
    if re.search(r"llama[.-]?cpp", repository):
        own = arguments[:1] in (["--server"], ["-s"])  # the `full` image's own first word
        return replace(around, engine="llama-server", words=tuple(arguments[own:]))
    return None
