"""`modelkit init`."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from modelkit.cli.starter import PLATFORM_WORDS, Answers, problem_of, written
from modelkit.cli.terminal import Terminal
from modelkit.failure import Failure

_CONTEXT = (256, 2**20)


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Write a first Modelfile from flags, and from answers where a person sits there; never over another file."""
    from modelkit.language.names import default_name

    path = _place(arguments.file)
    answers = _given(arguments, Answers(name=default_name(str(path)), engine=_pinned()))
    if not arguments.yes and not terminal.as_json and sys.stdin.isatty() and terminal.stderr.isatty():
        answers = _asked(arguments, answers, terminal)
    text, found = written(answers)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except FileExistsError:
        raise _exists(path if path.exists() else path.parent) from None
    except OSError as error:
        raise Failure("unwritable", f"{path} cannot be written: {(error.strerror or str(error)).lower()}") from None
    terminal.document({"schema": "modelkit.init/1", "file": str(path), "name": answers.name, "base": answers.base,
                       "platform": answers.platform, "findings": [diagnostic.rule.id for diagnostic in found]})
    terminal.data(str(path))
    for diagnostic in found:
        hint = f"; {diagnostic.hint}" if diagnostic.hint else ""
        terminal.note(f"{diagnostic.severity.value}[{diagnostic.rule.id}]: {diagnostic.message}{hint}")
    terminal.note(f"next: modelkit up {path} -s dev -d --wait")
    return 0


def _place(word: str | None) -> Path:
    """Where the file goes: a word without `modelfile` in it is a folder. Raises Failure where a file is already."""
    path = Path(word or "Modelfile")
    if path.is_dir() or (not path.exists() and "modelfile" not in path.name.lower()):
        path /= "Modelfile"
    if path.exists() or path.is_symlink():
        raise _exists(path)
    return path


def _exists(path: Path) -> Failure:
    return Failure("exists", f"{path} is there already, and init writes over nothing",
                   hint=f"`modelkit check {path}` says how good it is; or name another file")


def _given(arguments: Namespace, answers: Answers) -> Answers:
    """The flags' answers over the defaults."""
    words = {key: value.strip() for key in ("name", "base", "system", "platform")
             if (value := getattr(arguments, key)) is not None}
    answers = replace(answers, **words, **({} if arguments.context is None else {"context": arguments.context}))
    if (problem := problem_of(answers.name)) is not None:
        raise Failure("bad-name", f"`{answers.name}` is no name for a model", hint=problem)
    low, high = _CONTEXT
    if not low <= answers.context <= high:
        raise Failure("bad-context", f"--context is {answers.context}; it must be from {low} to {high} tokens")
    if answers.platform not in PLATFORM_WORDS:
        raise Failure("bad-platform", f"`{answers.platform}` is no platform for production",
                      hint=_platforms(answers.platform))
    return answers


def _asked(arguments: Namespace, answers: Answers, terminal: Terminal) -> Answers:
    """A question for each answer that no flag gave; an empty line takes what stands in brackets."""
    def ask(question: str, default: str, problem: Callable[[str], str | None]) -> str:
        while True:
            print(f"{question} [{default}]: ", end="", file=terminal.stderr, flush=True)
            line = sys.stdin.readline()
            if not line:
                raise Failure("no-answer", "the questions were not answered; nothing is written", hint="add --yes")
            answer = line.strip() or default
            if (wrong := problem(answer)) is None:
                return answer
            terminal.note(f"  {wrong}")

    if arguments.name is None:
        answers = replace(answers, name=ask("Name that clients send", answers.name, problem_of))
    if arguments.base is None:
        question = "Base model (a name, hf.co/org/repo, a path or a URL)"
        answers = replace(answers, base=ask(question, answers.base, lambda base: _problem(replace(answers, base=base))))
    if arguments.system is None:
        answers = replace(answers, system=ask("System prompt", answers.system,
                                              lambda text: _problem(replace(answers, system=text))))
    if arguments.platform is None:
        answers = replace(answers, platform=ask("Platform of production", answers.platform,
                                                lambda word: None if word in PLATFORM_WORDS else _platforms(word)))
    return answers


def _problem(answers: Answers) -> str | None:
    """Why these answers make no file, or one that `check` warns of; None if all is good."""
    try:
        found = written(answers)[1]
    except Failure as failure:
        return failure.message + (f"; {failure.hint}" if failure.hint else "")
    warned = next((diagnostic for diagnostic in found if diagnostic.severity.value == "warning"), None)
    return None if warned is None else warned.message + (f"; {warned.hint}" if warned.hint else "")


def _platforms(word: str) -> str:
    from modelkit.language.diagnostic import did_you_mean
    from modelkit.language.engine_words import PLATFORM_SYNONYMS

    near = PLATFORM_SYNONYMS.get(word.lower()) or did_you_mean(word, PLATFORM_WORDS)
    return f"did you mean `{near}`?" if near in PLATFORM_WORDS else f"it is one of {', '.join(PLATFORM_WORDS)}"


def _pinned() -> str:
    """The range of vLLM versions that `modelkit engine install vllm` makes and modelkit knows: `>=0.32,<0.33`."""
    from modelkit.engines.requirements import requirement_set

    major, minor, *_ = (int(part) for part in requirement_set("vllm", None, "cpu").version.split("."))
    return f">={major}.{minor},<{major}.{minor + 1}"
