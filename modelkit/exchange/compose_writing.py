"""`models:` of a Compose file, for Docker Model Runner.

Facts: compose-spec `models.md`; Docker Model Runner gives `context_size` to llama.cpp as `--ctx-size`, which is for
all conversations together, and passes `runtime_flags` on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from modelkit.exchange.losses import Account, Loss, graded
from modelkit.exchange.serving import Serving, serving
from modelkit.exchange.subjects import Exported, Subject
from modelkit.exchange.unsaid import others
from modelkit.platforms.yaml import dump

_OWN = ("--alias", "--served-model-name", "--ctx-size", "--max-model-len", "--revision")
"""What Model Runner says itself, or `context_size` does."""


def write(subjects: Sequence[Subject]) -> Exported:
    """An entry for each stage. A service gets one by `models: [name]`."""
    models: dict[str, Any] = {}
    losses: list[Loss] = []
    for subject in subjects:
        account = Account()
        models[_key(subject.name)] = _entry(subject, serving(subject, account), account)
        others(subject, account)
        losses += account.graded
    names = ", ".join(models)
    head = f"# For `include:`, or beside your services. Each asks for its models: `models: [{names}]`.\n"
    return Exported(head + dump({"models": models}), graded(losses))


def _entry(subject: Subject, line: Serving, account: Account) -> dict[str, Any]:
    found: dict[str, Any] = {"model": _model(subject, line, account)}
    words: list[str] = []
    for flag in line.flags:
        if flag[0] in ("--ctx-size", "--max-model-len"):
            found["context_size"] = int(flag[1])
        elif any("\n" in word for word in flag):
            account.lost(flag[0], "a text of several lines: package it with the model")
        elif flag[0] not in _OWN:
            words += flag
    if words:
        found["runtime_flags"] = [word.replace("$", "$$") for word in words]
    account.unneeded(f"SERVE port {line.address[1]}", "Compose gives a service the model's address")
    if line.key is not None:
        account.lost("SERVE api_key", "Model Runner asks for no key")
    if subject.said.draft is not None:
        account.lost("DRAFT", "its path is not one of Model Runner's")
    return found


def _model(subject: Subject, line: Serving, account: Account) -> str:
    """What Model Runner pulls: an OCI artifact, or a repository of Hugging Face's."""
    base, said = subject.base, subject.said
    assert said.base is not None
    account.known(f"FROM {said.base.value}")
    if base.kind == "oci" and not base.digest:
        return f"{base.host}/{base.name}".removeprefix("docker.io/") + f":{base.tag}"
    if base.kind == "oci":
        return f"{base.host}/{base.name}@{base.digest}".removeprefix("docker.io/")
    if base.kind == "hf":
        if base.revision:
            account.lost(f"FROM {said.base.value}", f"Model Runner takes no revision: `@{base.revision}` is left out")
        quantize = said.quantize.value.name if said.quantize is not None else ""
        pick = base.pick or (quantize if re.fullmatch(r"I?Q\d.*|B?F\d\d", quantize) else "")
        return f"hf.co/{base.repo}" + (f":{pick}" if pick else "")
    name = _key(subject.name).lower()
    form = "--safetensors-dir DIR" if line.engine == "vllm" else "--gguf FILE"
    account.lost(f"FROM {said.base.value}", f"Model Runner pulls from registries: `docker model package {form} {name}` "
                 "makes it one of its models")
    return name


def _key(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "-", name)
