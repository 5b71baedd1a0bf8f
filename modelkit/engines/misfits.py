"""What a stage says that its engine does not have: parsers, GPUs, settings. Reads data alone, and loads no engine."""

from __future__ import annotations

from collections.abc import Iterator

from modelkit.engines.losses import LOST, NEUTRAL
from modelkit.engines.vllm_parsers import REASONING_PARSERS, TOOL_PARSERS
from modelkit.language.diagnostic import Diagnostic, did_you_mean
from modelkit.language.kinds import Scalar
from modelkit.language.layers import Effective, Layered
from modelkit.language.rules.engine import LOST_SETTING, LOST_UNDER_STRICT, UNKNOWN_ACCELERATOR, UNKNOWN_PARSER

_PARSERS = (("tool_parser", TOOL_PARSERS, "--tool-parser-plugin"),
            ("reasoning_parser", REASONING_PARSERS, "--reasoning-parser-plugin"))


def misfits(said: Effective, engine: str) -> Iterator[Diagnostic]:
    """Everything of one stage on an engine by its language's word."""
    yield from _accelerator(said)
    if engine == "vllm":
        yield from _parsers(said)
        yield from _losses(said)


def _accelerator(said: Effective) -> Iterator[Diagnostic]:
    asked = said.serve.get("accelerator")
    if asked is None or str(asked.value).lower() == "cpu":
        return
    from modelkit.planning.accelerators import accelerator, nearest

    word = str(asked.value)
    if accelerator(word) is None:
        near = nearest(word)
        yield Diagnostic(UNKNOWN_ACCELERATOR, f"no GPU is called `{word}`", asked.span,
                         f"did you mean `{near}`?" if near else "name an NVIDIA GPU (`L4`, `H100`), or `cpu`")


def _parsers(said: Effective) -> Iterator[Diagnostic]:
    for key, known, plugin in _PARSERS:
        asked = said.serve.get(key)
        if asked is None or asked.value in known or any(f.value.flag.startswith(plugin) for f in said.flags):
            continue
        near = did_you_mean(str(asked.value), known)
        yield Diagnostic(UNKNOWN_PARSER, f"vLLM has no {key.replace('_', ' ')} `{asked.value}`", asked.span,
                         f"did you mean `{near}`?" if near else f"`FLAG {plugin}` brings one of your own")


def _losses(said: Effective) -> Iterator[Diagnostic]:
    """What the stage itself says, and under `POLICY strict` what it inherits too: there it would not start."""
    strict = any(policy.value == "strict" for policy in said.policies)
    for name, reason in LOST.items():
        asked = _asked(said, name)
        if asked is None or (name in NEUTRAL and asked.value == NEUTRAL[name]):
            continue
        word = _spelled(name)
        if strict:
            yield Diagnostic(LOST_UNDER_STRICT, f"`{word}` is lost on vLLM, and stage `{said.stage}` is strict: "
                             f"{reason}", asked.span)
        elif asked.layer == "stage":
            yield Diagnostic(LOST_SETTING, f"`{word}` does nothing in stage `{said.stage}`: {reason}", asked.span)


def _asked(said: Effective, name: str) -> Layered[str] | Layered[Scalar] | None:
    if name == "projector":
        return said.projector
    key = name.removeprefix("serve.")
    return said.serve.get(key) if key != name else said.parameters.get(name)


def _spelled(name: str) -> str:
    return {"projector": "FROM"}.get(name) or (
        f"SERVE {name.removeprefix('serve.')}" if name.startswith("serve.") else f"PARAMETER {name}")
