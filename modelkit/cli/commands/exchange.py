"""`modelkit import` and `modelkit export`."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelkit.cli import project
from modelkit.cli.terminal import Terminal
from modelkit.failure import Failure

if TYPE_CHECKING:
    from modelkit.exchange.losses import Loss
    from modelkit.exchange.sources import Imported, Source

_LARGEST = 1 << 20
_ENGINES = ("vllm", "llama-server")


def run(arguments: Namespace, terminal: Terminal) -> int:
    """0 when it is written; with --strict 1 when something is lost."""
    return (_import if arguments.command == "import" else _export)(arguments, terminal)


def _import(arguments: Namespace, terminal: Terminal) -> int:
    from modelkit.exchange import read
    from modelkit.exchange.paths import moved

    source = _source(arguments)
    found = read(source)
    target = Path(arguments.output) if arguments.output else None
    in_folder = target is not None and (target.is_dir() or arguments.output.endswith("/"))
    chosen = _chosen(found, arguments.model, source.name, all_of_them=in_folder)
    said: list[dict[str, Any]] = []
    for one in chosen:
        text = one.modelfile
        document: dict[str, Any] = {"key": one.key, "modelfile": text,
                                    "losses": [loss.as_json() for loss in one.losses]}
        if text is None:
            assert one.problem is not None
            terminal.note(f"not imported: {one.key}: {one.problem.message}")
            document["error"] = one.problem.as_json()
        elif target is None:
            terminal.data(text.rstrip("\n"))
        else:
            path = target / (f"{_file_name(one.key)}.Modelfile" if len(chosen) > 1 else "Modelfile") \
                if in_folder else target
            document["modelfile"] = text = moved(text, source.folder, path.absolute().parent)
            document["file"] = str(path)
            _write(path, text, arguments.force)
            terminal.note(f"wrote {path}")
        _list(one.losses, terminal, source.name, one.key if len(chosen) > 1 else "")
        said.append(document)
    terminal.document({"schema": "modelkit.import/1", "format": source.format, "source": source.name, "models": said})
    return _code(arguments, (loss for one in chosen for loss in one.losses), any(one.problem for one in chosen))


def _source(arguments: Namespace) -> Source:
    """What the words name: a file, `-` for stdin, or for an engine's command line the words themselves."""
    from modelkit.exchange.sources import Source
    from modelkit.language.source import Source as Text

    words: list[str] = arguments.source
    called = arguments.name or ""
    if arguments.format in _ENGINES and words and not (len(words) == 1 and (words[0] == "-" or _is_file(words[0]))):
        whole = words[0] if len(words) == 1 else ""  # one word is a command in quotes
        return Source(arguments.format, "the command line", whole, Path.cwd(), () if whole else tuple(words), called)
    if len(words) != 1:
        raise Failure("usage", f"import {arguments.format} takes one file" + (f", and there are {len(words)}"
                      if words else ""), hint="`-` is standard input")
    if words[0] == "-":
        data, name, folder = sys.stdin.buffer.read(_LARGEST + 1), "stdin", Path.cwd()
    else:
        path = Path(words[0])
        if path.is_dir() and arguments.format == "ollama":
            path = project.find(words[0])
        try:
            with path.open("rb") as file:
                data = file.read(_LARGEST + 1)
        except OSError as error:
            raise Failure("unreadable", f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from None
        name, folder = str(path), path.absolute().parent
    if len(data) > _LARGEST:
        raise Failure("too-large", f"{name} is larger than 1 MiB", hint="is it the right file?")
    return Source(arguments.format, name, Text.decode(name, data).text, folder, (), called)


def _is_file(word: str) -> bool:
    try:
        return Path(word).is_file()
    except (OSError, ValueError):
        return False


def _chosen(found: Sequence[Imported], key: str | None, name: str, *, all_of_them: bool) -> Sequence[Imported]:
    """The model that the user names, or the only one; all of them where there is a folder for them."""
    keys = ", ".join(one.key for one in found if one.key)
    if key is not None:
        chosen = [one for one in found if one.key == key]
        if not chosen:
            raise Failure("no-such-model", f"{name} has no model `{key}`", hint=f"it has {keys}" if keys else None)
    elif len(found) == 1 or all_of_them:
        chosen = list(found)
    else:
        raise Failure("several-models", f"{name} has {len(found)} models: {keys}",
                      hint="choose one with --model, or name a folder for all of them: `-o DIR/`")
    if all(one.modelfile is None for one in chosen):
        assert chosen[0].problem is not None
        raise chosen[0].problem
    return chosen


def _export(arguments: Namespace, terminal: Terminal) -> int:
    from modelkit.exchange import FORMATS, write
    from modelkit.exchange.subjects import Subject

    stage = arguments.stage or os.environ.get("MODELKIT_STAGE") or FORMATS[arguments.format].stage
    paths = project.all_of(arguments.files)
    given = project.given(arguments, *paths)
    subjects = [Subject(project.load(path, terminal, given), stage) for path in paths]
    exported = write(arguments.format, subjects)
    if arguments.output:
        _write(Path(arguments.output), exported.text, arguments.force)
        terminal.note(f"wrote {arguments.output}")
    else:
        terminal.data(exported.text.rstrip("\n"))
    _list(exported.losses, terminal, "", "")
    terminal.document({"schema": "modelkit.export/1", "format": arguments.format, "stage": stage,
                       "text": exported.text, "losses": [loss.as_json() for loss in exported.losses]})
    return _code(arguments, exported.losses, False)


def _list(losses: Iterable[Loss], terminal: Terminal, name: str, key: str) -> None:
    """A line for each thing that did not fit."""
    for loss in losses:
        place = f"{name}:{loss.line}: " if loss.line is not None else f"{key}: " if key else ""
        terminal.note(f"{loss.verdict}: {place}{loss}")


def _code(arguments: Namespace, losses: Iterable[Loss], failed: bool) -> int:
    return 1 if failed or (arguments.strict and any(loss.verdict == "lost" for loss in losses)) else 0


def _file_name(key: str) -> str:
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in key).strip("-.") or "model"


def _write(path: Path, text: str, force: bool) -> None:
    """Have the text at `path`, atomically. Raises Failure where something is that the user did not give up."""
    if path.exists() and not force:
        raise Failure("exists", f"{path} exists already", hint="--force replaces it")
    path.parent.mkdir(exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_bytes(text.encode())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
