"""What one flag of an engine means in a Modelfile: the small functions that the engines' tables are made of."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from modelkit.exchange.draft import Draft
from modelkit.exchange.flags import Given, as_json, is_secret
from modelkit.exchange.shell import Command

Meaning = Callable[[Draft, Given], None]
"""Puts what a flag says into the draft, or says in its account why not."""

Convert = Callable[[str], object]
"""A flag's value as the language has it. Raises ValueError for one that has no such form."""


def parameter(name: str, convert: Convert = str, why: str = "") -> Meaning:
    return lambda draft, given: _converted(
        draft, given, convert, lambda value: draft.parameter(name, value, said=given.said, why=why))


def serve(key: str, convert: Convert = str, why: str = "") -> Meaning:
    return lambda draft, given: _converted(
        draft, given, convert, lambda value: draft.serve(key, value, said=given.said, why=why))


def switch(key: str) -> Meaning:
    """SERVE key true, or false for the flag's opposite."""
    return lambda draft, given: draft.serve(key, not given.negated, said=given.said)


def unneeded(reason: str) -> Meaning:
    return lambda draft, given: draft.account.unneeded(given.said, reason)


def lost(reason: str) -> Meaning:
    return lambda draft, given: draft.account.lost(given.said, reason)


def each(meaning: Meaning, names: Iterable[str]) -> dict[str, Meaning]:
    """The same meaning for several flags."""
    return dict.fromkeys(names, meaning)


def as_flag(draft: Draft, given: Given) -> None:
    """FLAG, for what the engine has and the language does not."""
    if is_secret(given.name):
        draft.account.lost(given.said, "a secret is never in a Modelfile: keep it in the environment")
        return
    draft.flag(given.word, given.value or None, said=given.said)


def api_key(draft: Draft, given: Given) -> None:
    """The key itself is never taken over, only that there is one."""
    variable = re.fullmatch(r"\$\{?(?:env\.)?([A-Za-z_][A-Za-z0-9_]*)\}?", given.value)
    name = variable[1] if variable else "MODELKIT_API_KEY"
    draft.serve("api_key", f"env:{name}", said=given.said, why="keys are kept outside of the file")
    if variable is None:
        draft.account.approximated(given.said, f"the key is not in the file: put it into ${name}")


def address(draft: Draft, given: Given, command: Command) -> None:
    """`--host`. In a container it says nothing of the address outside."""
    if command.image:
        draft.account.unneeded(given.said, "inside of the container; what is published is the address")
    else:
        host(draft, given)


def host(draft: Draft, given: Given) -> None:
    """An address off loopback is left out where no key is asked for: modelkit would refuse to start."""
    if given.value in ("127.0.0.1", "localhost", "::1") or draft.has("SERVE", "api_key"):
        draft.serve("host", given.value, said=given.said)
    else:
        draft.account.lost(given.said, "off loopback clients must send a key: write `SERVE api_key env:NAME`, then "
                           f"`SERVE host {given.value}`")


def template_variables(draft: Draft, given: Given) -> None:
    """Variables of the chat template: the one that lets the model think is the language's own, others are a FLAG."""
    said = as_json(given)
    switches = {"enable_thinking", "thinking"}
    if said and len(said) == 1 and isinstance(value := next(iter(said.values())), bool) and switches & said.keys():
        draft.serve("thinking", value, said=given.said)
    elif said and said.keys() == {"reasoning_effort"}:
        draft.serve("thinking", said["reasoning_effort"], said=given.said)
    else:
        as_flag(draft, given)


def choose(words: Mapping[str, object]) -> Convert:
    """The language's word for an engine's. Raises ValueError for one that has none."""

    def convert(text: str) -> object:
        if text not in words:
            raise ValueError(f"there is no such value here; there are {', '.join(map(str, words.values()))}")
        return words[text]

    return convert


def tokens(text: str) -> int:
    """vLLM's human-readable integers: `8k` is 8000, `8K` is 8192, `1.5k` is 1500."""
    if text in ("auto", "-1"):
        raise ValueError("the longest context that fits is not looked for: write `PARAMETER num_ctx`")
    match = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)([kmgtKMGT]?)", text)
    if match is None:
        raise ValueError("it is not a number of tokens")
    unit = match[2]
    factor = 1000 ** ("kmgt".index(unit) + 1) if unit and unit in "kmgt" else \
        1024 ** ("KMGT".index(unit) + 1) if unit else 1
    return round(float(match[1]) * factor)


def template(draft: Draft, given: Given, text: str) -> None:
    """The chat template's own text."""
    draft.put("TEMPLATE", text, said=given.said)


def template_file(draft: Draft, given: Given, folder: Path, mounts: Iterable[str] = ()) -> None:
    """The chat template of a file, as a text of the Modelfile: the file may be read only here."""
    path = on_host(given.value, mounts)
    try:
        file = folder / Path(path).expanduser()
        if file.stat().st_size > 1 << 20:
            raise OSError
        template(draft, given, file.read_text("utf-8"))
    except (OSError, ValueError, RuntimeError):
        draft.account.lost(given.said, f"`{path}` cannot be read here: put its text into TEMPLATE")


def on_host(path: str, mounts: Iterable[str]) -> str:
    """A container's path as the host has it, by the container's volumes; as it is where none covers it."""
    for mount in mounts:
        source, _, rest = mount.partition(":")
        target = rest.partition(":")[0].rstrip("/")
        if target and (path == target or path.startswith(target + "/")):
            return source.rstrip("/") + path[len(target):]
    return path


def reference(text: str, folder: Path, mounts: Iterable[str] = ()) -> str:
    """What an engine calls its model, as FROM does: a path that there is or that looks like one, else the Hub's."""
    text = on_host(text.strip(), mounts)
    if re.match(r"(hf|huggingface)\.co/", text):
        return text
    if text.startswith(("/", "./", "../", "~")) or re.match(r"[A-Za-z]:[/\\]", text):
        return text
    if text.lower().endswith((".gguf", ".safetensors")) or _exists(folder, text) or "/" not in text:
        return f"./{text}"
    address = urlsplit(text)
    return text if address.scheme else f"hf.co/{text}"


def _exists(folder: Path, text: str) -> bool:
    try:
        return (folder / text).exists()
    except (OSError, ValueError):
        return False


def surroundings(draft: Draft, command: Command) -> None:
    """What stands around a command: variables, the image, the volumes. A variable's value is not repeated."""
    for variable in command.variables:
        name = variable.partition("=")[0]
        if name in _OWN_VARIABLES:
            draft.account.unneeded(f"{name}=…", "modelkit sets it itself")
        elif is_secret(name) or name.startswith(("HF_", "HUGGING_FACE")):
            draft.account.unneeded(f"{name}=…", "modelkit takes it from the environment that it is started in")
        else:
            draft.account.lost(f"{name}=…", "a Modelfile sets no variables: set it for `modelkit up`")
    for option in command.options:
        draft.account.unneeded(option, "it is the container's, which `PLATFORM compose` would write itself")
    _published(draft, command)
    if command.image:
        contained = "; `PLATFORM compose` with `SERVE image` runs it in this one" if command.engine == "vllm" else ""
        draft.account.unneeded(command.image, f"modelkit has an engine of its own{contained}")


def _published(draft: Draft, command: Command) -> None:
    """The address of a container is what its port is published as."""
    for port in command.ports:
        outside = re.fullmatch(r"(?:[\d.]+:)?([0-9]{1,5}):[0-9]{1,5}(?:/tcp)?", port)
        if outside is not None:
            draft.serve("port", outside[1], said=f"published as {port}")
        elif port.startswith("${"):
            draft.account.unneeded(port, "the address has a port of its own")
        else:
            draft.account.lost(port, "it is not one port of the host")


_OWN_VARIABLES = frozenset(("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "VLLM_NO_USAGE_STATS", "DO_NOT_TRACK",
                            "HF_HUB_DISABLE_TELEMETRY", "VLLM_LOGGING_LEVEL", "VLLM_USE_V1", "PYTHONUNBUFFERED"))


def _converted(draft: Draft, given: Given, convert: Convert, use: Callable[[object], None]) -> None:
    try:
        value = convert(given.value)
    except ValueError as error:
        draft.account.lost(given.said, str(error) or "its value cannot be read")
        return
    use(value)
