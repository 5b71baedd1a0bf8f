"""What the files beside a Modelfile show of it: whether they are there, and what the model's own header says.

Reads names and GGUF headers of ordinary files at paths that the Modelfile says; fetches and runs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path

from modelkit.language.checking.references import is_path, is_projector
from modelkit.language.diagnostic import Diagnostic, Note, in_file_order
from modelkit.language.layers import Effective, Layered, effective
from modelkit.language.modelfile import KNOWN_STAGES, Modelfile
from modelkit.language.rules.model import (
    ADAPTER_OF_ANOTHER_MODEL,
    CONTEXT_TOO_LONG,
    DRAFT_OF_ANOTHER_VOCABULARY,
    MISSING_FILE,
    NO_CHAT_TEMPLATE,
    SHADOWED_NAME,
)
from modelkit.language.source import Span

_MOST_STAGES = 20
_VOCABULARIES_DIFFER = 128  # llama.cpp's SPEC_VOCAB_MAX_SIZE_DIFFERENCE


@dataclass(frozen=True)
class Shown:
    """What a GGUF's header shows."""

    architecture: str
    context_length: int | None
    vocabulary: int
    chats: bool


def findings(modelfile: Modelfile) -> list[Diagnostic]:
    """In file order, one finding once however many stages share it; none for a text that is in no file."""
    file = Path(modelfile.path)
    if not file.is_file():
        return []
    found: dict[tuple[str, Span], Diagnostic] = {}
    for name in list(dict.fromkeys((*modelfile.stages, *KNOWN_STAGES)))[:_MOST_STAGES]:
        for one in _stage(effective(modelfile, name), file.parent):
            found.setdefault((one.rule.id, one.span), one)
    return in_file_order(found.values())


def _stage(said: Effective, folder: Path) -> Iterator[Diagnostic]:
    base = said.base
    if base is None:
        return
    paths = [base, *(one for one in (said.projector, said.draft) if one is not None)]
    for one in paths:
        yield from _there(one.value, one.span, folder)
    for adapter in said.adapters:
        yield from _there(adapter.value.reference, adapter.span, folder)
    if not is_path(base.value) and _exists(folder / base.value):
        yield Diagnostic(SHADOWED_NAME, f"`{base.value}` is a file or folder beside this file, so it is not the "
                         "registry's model", base.span, f"write `./{base.value}` if the file is meant")
    header = _shown(folder, base.value)
    if header is not None:
        yield from _model(said, base, header, folder)


def _model(said: Effective, base: Layered[str], header: Shown, folder: Path) -> Iterator[Diagnostic]:
    context, task = said.parameters.get("num_ctx"), said.serve.get("task")
    if context is not None and header.context_length and int(context.value) > header.context_length:
        yield Diagnostic(CONTEXT_TOO_LONG, f"`num_ctx` is {context.value}; the model was trained for "
                         f"{header.context_length} tokens", context.span,
                         f"write `PARAMETER num_ctx {header.context_length}` or less", (Note("the model", base.span),))
    if not header.chats and said.template is None and said.renderer is None \
            and (task is None or task.value == "chat") and not is_projector(base.value):
        yield Diagnostic(NO_CHAT_TEMPLATE, "this model's file has no chat template", base.span,
                         "take the instruction-tuned model, or write its TEMPLATE")
    for adapter in said.adapters:
        other = _shown(folder, adapter.value.reference)
        if other is not None and other.architecture and other.architecture != header.architecture:
            yield Diagnostic(ADAPTER_OF_ANOTHER_MODEL, f"this adapter is for {other.architecture}, and the base is "
                             f"{header.architecture}", adapter.span, None, (Note("the base", base.span),))
    draft = _shown(folder, said.draft.value) if said.draft is not None else None
    if said.draft is not None and draft is not None and draft.vocabulary and header.vocabulary \
            and abs(draft.vocabulary - header.vocabulary) > _VOCABULARIES_DIFFER:
        yield Diagnostic(DRAFT_OF_ANOTHER_VOCABULARY, f"this draft knows {draft.vocabulary} tokens, and the base "
                         f"{header.vocabulary}", said.draft.span, None, (Note("the base", base.span),))


def _there(reference: str, span: Span, folder: Path) -> Iterator[Diagnostic]:
    path = _path(folder, reference)
    if path is None or _exists(path):
        return
    try:
        names = [one.name for one in path.parent.iterdir()] if path.parent.is_dir() else []
    except OSError:
        names = []
    near = next(iter(get_close_matches(path.name, names, 1, 0.8)), None)
    hint = f"did you mean `{reference[: len(reference) - len(path.name)]}{near}`?" if near else None
    yield Diagnostic(MISSING_FILE, f"there is no `{reference}` on this machine", span, hint)


def _path(folder: Path, reference: str) -> Path | None:
    """Where a path of a Modelfile leads; None for names, and for what is written for Windows or for no user."""
    if not is_path(reference) or "\\" in reference or "\0" in reference:
        return None
    try:
        return folder / Path(reference).expanduser()
    except RuntimeError:
        return None


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _shown(folder: Path, reference: str) -> Shown | None:
    path = _path(folder, reference)
    try:
        if path is None or path.suffix.lower() != ".gguf" or not path.is_file():
            return None
        known = path.stat()
        return _of_header(path, known.st_size, known.st_mtime_ns)
    except OSError:
        return None


@lru_cache(maxsize=16)
def _of_header(path: Path, size: int, changed: int) -> Shown | None:
    """Of one state of a file, so that an editor asks once. None for what is no GGUF: whoever loads it says why."""
    from modelkit.failure import Failure
    from modelkit.models.formats.gguf import Array
    from modelkit.models.formats.gguf_reader import read_header

    try:
        header = read_header(path, model=False)
    except Failure:
        return None
    architecture = header.get("general.architecture", str, "")
    tokens = header.metadata.get("tokenizer.ggml.tokens")
    return Shown(architecture, header.get(f"{architecture}.context_length", int),
                 tokens.count if isinstance(tokens, Array) else 0, bool(header.get("tokenizer.chat_template", str, "")))
