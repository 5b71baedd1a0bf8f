"""Who can reach a stage, under which name, and whether it is the same tomorrow."""

from __future__ import annotations

import ipaddress
import re

from modelkit.language.checking.context import shown
from modelkit.language.checking.views import Checked, View
from modelkit.language.rules.production import (
    DEFAULT_CONTEXT,
    FOLDER_NAME,
    MACHINE_SETTING,
    MAX_REPLICAS_TOO_LOW,
    MUTABLE_IMAGE,
    OPEN_TO_THE_NETWORK,
    PRIVILEGED_PORT,
)

_OF_A_MACHINE = ("num_thread", "num_gpu", "main_gpu")


def judge_exposure(checked: Checked) -> None:
    """Reports what is unsafe, or is left to chance, where a stage is served."""
    for view in checked.views:
        _address(view, checked)
        _image(view, checked)
        _replicas(view, checked)
    for view in checked.declared:
        if view.elsewhere:
            _left_to_chance(view, checked)
    if checked.declared:
        for name in _OF_A_MACHINE:
            said = checked.modelfile.layer.parameters.get(name)
            if said is not None and (name, said.value) not in (("num_gpu", -1), ("num_thread", 0)):
                checked.say(MACHINE_SETTING, f"`{name}` fits one machine, and is said for every stage", said.span,
                            hint="move it into the stage of that machine")


def _address(view: View, checked: Checked) -> None:
    host, port = view.said.serve.get("host"), view.said.serve.get("port")
    if host is not None and "api_key" not in view.said.serve and not _is_loopback(str(host.value)):
        checked.say(OPEN_TO_THE_NETWORK, f"`{host.value}` can be reached from other machines, and stage "
                    f"`{view.said.stage}` names no key", host.span, hint="write `SERVE api_key env:NAME`")
    if port is not None and int(port.value) < 1024 and not view.elsewhere:
        checked.say(PRIVILEGED_PORT, f"only root may listen on port {port.value}", port.span)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost" or host.lower().endswith(".localhost")


def _image(view: View, checked: Checked) -> None:
    said = view.said.serve.get("image")
    if said is None or "@" in str(said.value):
        return
    tag = re.search(r":([^/:]+)$", str(said.value))
    if tag is None or tag[1] in ("latest", "nightly", "main", "edge"):
        what = "names no tag" if tag is None else f"is whatever is {tag[1]}"
        checked.say(MUTABLE_IMAGE, f"`{shown(str(said.value))}` {what}, so it may be another image tomorrow", said.span)


def _replicas(view: View, checked: Checked) -> None:
    least, most = view.said.serve.get("replicas"), view.said.serve.get("max_replicas")
    if least is not None and most is not None and float(most.value) < float(least.value):
        checked.say(MAX_REPLICAS_TOO_LOW, f"`max_replicas` is {most.value}, and `replicas` {least.value} in stage "
                    f"`{view.said.stage}`", most.span, hint=f"write `SERVE max_replicas {least.value}` or more")


def _left_to_chance(view: View, checked: Checked) -> None:
    assert view.block is not None  # it is declared
    own, base = checked.modelfile.name, checked.modelfile.layer.base
    if own.span.end == 0 and base is not None and re.match(r"modelfile(\.|$)", _file(checked), re.IGNORECASE):
        checked.say(FOLDER_NAME, f"this model is called after its folder, and stage `{view.said.stage}` serves it "
                    "elsewhere", base.span, hint="write `NAME`, and what clients are to call it")
    if view.said.kind == "prod" and view.task == "chat" and "num_ctx" not in view.said.parameters:
        checked.say(DEFAULT_CONTEXT, f"stage `{view.said.stage}` does not say how long a conversation may be",
                    checked.header(view.block),
                    hint="write `PARAMETER num_ctx`; without it 4096 tokens, or what the base says")


def _file(checked: Checked) -> str:
    return re.split(r"[/\\]", checked.modelfile.path)[-1]
