"""What can be said of a reference from its text alone: nothing is looked up, on disk or elsewhere."""

from __future__ import annotations

import re

from modelkit.language.checking.context import Context, shown
from modelkit.language.diagnostic import did_you_mean
from modelkit.language.document import Value, Word
from modelkit.language.fixes import instead
from modelkit.language.kinds import without_comment
from modelkit.language.quantization import named_in
from modelkit.language.rules.meaning import BAD_REFERENCE
from modelkit.language.rules.ollama import BARE_ORG_NAME, NAME_IS_PATH
from modelkit.language.rules.production import (
    BACKSLASH_PATH,
    CACHE_PATH,
    MACHINE_PATH,
    MUTABLE_REFERENCE,
    PICKLED_WEIGHTS,
    PLACEHOLDER,
)

SCHEMES = ("hf", "huggingface", "ollama", "oci", "https", "pypi", "file")

_PATH = re.compile(r"\.{0,2}[/\\]|\.{1,2}$|~|[A-Za-z]:[/\\]")
_PLACEHOLDER = re.compile(r"<[^<>]{1,80}>|\$\{[^{}]{0,80}\}|\{\{[^{}]{0,80}\}\}")
_HOME = re.compile(r"/(home|Users)/[^/]+/|/root/|[A-Za-z]:[/\\]Users[/\\]", re.IGNORECASE)
_MODEL_FILE = re.compile(r"\.(gguf|safetensors|bin|pth|pt)$", re.IGNORECASE)
_ORG_NAME = re.compile(r"(?P<org>[A-Za-z0-9_-]+)/(?P<name>[A-Za-z0-9_.-]+)(:[\w.-]+)?")
_BACKSLASH = re.compile(r"(?![A-Za-z]:|\\\\).*\\")  # neither a drive nor a network share, which are Windows' own
_PICKLE = re.compile(r"\.(?:pt|pth|ckpt|pkl|pickle)$", re.IGNORECASE)
_HUB_CACHE = re.compile(r"models--(?P<org>[\w.-]+?)--(?P<name>[\w.-]+?)[/\\]snapshots[/\\](?P<commit>[0-9a-f]{7,40})"
                        r"(?:[/\\](?P<file>.*))?$")
_OLLAMA_BLOB = re.compile(r"[/\\]blobs[/\\]sha256[-:][0-9a-f]{64}$")
_MOVING = re.compile(r"(?:(?:hf|huggingface)(?:\.co/|://)[^@\s]+@(?![0-9a-f]{40}$)(?P<branch>\S+)|pypi://[^/=\s]+/)",
                     re.IGNORECASE)
_HUGGING_FACE = frozenset({
    "allenai", "bartowski", "bigscience", "databricks", "deepseek-ai", "facebook", "google", "huggingface",
    "ibm-granite", "meta-llama", "microsoft", "mistralai", "nvidia", "openai", "openai-community", "stabilityai",
    "tiiuae", "unsloth",
})


def is_path(reference: str) -> bool:
    """Whether a reference is written as a path: it starts with `./`, `../`, `/`, `~`, or a drive."""
    return _PATH.match(reference) is not None


def is_projector(reference: str) -> bool:
    """Whether a path's name says that the file is a vision projector, which Ollama takes as a second FROM."""
    return re.search(r"mmproj|projector", re.split(r"[/\\]", reference)[-1], re.IGNORECASE) is not None


def check_reference(value: Value, context: Context) -> None:
    """Reports what is wrong, or likely to go wrong, with the reference of a FROM, an ADAPTER or a DRAFT."""
    text, span, report = value.text, value.span, context.report
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", text)
    placeholders = [m[0] for m in _PLACEHOLDER.finditer(text)]
    if placeholders:
        report.add(PLACEHOLDER, f"`{shown(placeholders[0])}` is a placeholder, and nothing replaces it", span)
    elif is_path(text):
        if _PICKLE.search(text):
            report.add(PICKLED_WEIGHTS, f"`{shown(text)}` is a pickle, which runs code when it is loaded", span)
        if (cached := _cached(text)) is not None:
            report.add(CACHE_PATH, f"this path leads into {cached[0]}'s cache", span, hint=cached[1])
        elif _BACKSLASH.match(text):
            report.add(BACKSLASH_PATH, f"`{shown(text)}` is found on Windows only", span,
                       fix=instead(value.inner, text.replace("\\", "/"), safe=False))
        elif _HOME.match(text):
            report.add(MACHINE_PATH, f"`{shown(text)}` is in one person's home folder", span,
                       hint="write it relative to the Modelfile, `./…`")
    elif re.search(r"\s", text):
        plain = without_comment(text)
        commented = f"write `{shown(plain)}`, and the comment on a line of its own"
        hint = commented if plain != text else "a path starts with `./`"
        report.add(BAD_REFERENCE, f"`{shown(text)}` holds a blank, so it is no model's name", span, hint=hint)
    elif scheme and scheme[1].lower() not in SCHEMES:
        near = "https" if scheme[1].lower() == "http" else did_you_mean(scheme[1], SCHEMES)
        report.add(BAD_REFERENCE, f"`{scheme[0]}` is not a kind of reference", span,
                   hint=f"did you mean `{near}://`?" if near else f"it is {', '.join(SCHEMES)}, or a path",
                   fix=context.fix(Word(text, span), near + text[len(scheme[1]) :]) if near else None)
    elif _MODEL_FILE.search(text) and not scheme and text.count("/") < 2:
        report.add(NAME_IS_PATH, f"`{shown(text)}` looks like a file, but is written like a model's name", span,
                   hint=f"did you mean `./{shown(text)}`?", fix=context.fix(Word(text, span), f"./{text}"))
    else:
        _registry_name(value, context)


def _cached(path: str) -> tuple[str, str] | None:
    """Whose cache a path leads into, and what to write instead."""
    if found := _HUB_CACHE.search(path):
        pick = named_in(found["file"] or "")
        return "Hugging Face", f"write `hf.co/{found['org']}/{found['name']}{f':{pick}' if pick else ''}@" \
            f"{found['commit']}`"
    if _OLLAMA_BLOB.search(path):
        return "Ollama", "write the model's name, which `ollama show --modelfile` has in a comment above it"
    return None


def _registry_name(value: Value, context: Context) -> None:
    text, report = value.text, context.report
    org = _ORG_NAME.fullmatch(text)
    if org and (org["org"] in _HUGGING_FACE or re.search(r"[A-Z]", org["org"] + org["name"])):
        report.add(BARE_ORG_NAME, f"`{shown(text)}` means Ollama's registry, but looks like a name of Hugging Face's",
                   value.span, hint=f"did you mean `hf.co/{shown(text)}`?",
                   fix=context.fix(Word(text, value.span), f"hf.co/{text}"))
        return
    if (moving := _MOVING.match(text)) is not None:
        what = f"`{shown(moving['branch'])}` is no whole commit" if moving["branch"] else "no version is named"
        report.add(MUTABLE_REFERENCE, f"{what}, so this may be another model tomorrow", value.span)
    if re.match(r"(hf|huggingface)\.co/|(hf|huggingface|https|pypi|file)://", text, re.IGNORECASE) or "@" in text:
        return
    tag = text.rsplit("/", 1)[-1].partition(":")[2]
    if text and tag in ("", "latest"):
        said = f"`{shown(text)}` names no tag" if not tag else f"`{shown(text)}` is whatever is latest"
        report.add(MUTABLE_REFERENCE, f"{said}, so it may mean another model tomorrow", value.span)
