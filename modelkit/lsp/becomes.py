"""What a setting becomes on each engine, by the engines' own tables.

A hover has no machine and no model: the rules are asked with a plan of an ordinary stage, one model on a GPU, that has
this setting and the file's sizes. `modelkit explain` says what a real stage does.
"""

from __future__ import annotations

from typing import Any

from modelkit.language.engine_words import ENGINES
from modelkit.language.kinds import Scalar

ANY_TEXT = "…"
"""The value to ask about where it does not matter which."""

_CONTEXT, _CONCURRENCY = 4096, 4

_AGREED = {"equal": "", "translated": "", "approximated": "nearly: ", "lost": "**lost**: "}


def becomes(setting: str, value: Scalar, *, context_length: int | None = None) -> str:
    """A Markdown table, one line for engines that say it alike; "" where none has a say (`serve.port`)."""
    said: dict[str, list[str]] = {}
    for engine in ENGINES:
        if cell := _on(engine, setting, value, context_length):
            said.setdefault(cell, []).append(engine)
    lines = [f"| {', '.join(engines)} | {cell} |" for cell, engines in said.items()]
    return "\n".join(["| engine | becomes |", "|---|---|", *lines]) if lines else ""


def load_engines() -> None:
    """Imports what the first hover needs, so that it need not wait for it."""
    from modelkit.engines import engine_module

    for name in ENGINES:
        engine_module(name)


def _on(engine: str, setting: str, value: Scalar, context_length: int | None) -> str:
    from modelkit.engines import engine_module
    from modelkit.failure import Failure

    row = engine_module(engine).SETTINGS.get(setting)
    if row is None:
        return ""
    try:
        answer = row.rule(value, _specimen(engine, setting, value, context_length))
    except Failure:
        return row.doc  # it asks for more than a file says: a model, a machine
    if answer is None:
        return ""
    target = f"`{answer.target}`" if answer.target else ""
    valued = bool(target) and answer.value is not None and answer.value is not True and answer.value != ANY_TEXT
    shown = f"{target} = {_code(answer.value)}" if valued else target
    return _cell(_AGREED[answer.verdict] + ": ".join(part for part in (shown, answer.reason) if part) or row.doc)


def _specimen(engine: str, setting: str, value: Any, context_length: int | None) -> Any:
    from modelkit.planning.plan import Engine, Origin, Plan, Setting

    found = Engine(name=engine, provider="environment" if engine == "vllm" else "llama-cpp-python", version="0",
                   command=("engine",), variant="cuda")
    return Plan(name="model", modelfile="Modelfile", stage="prod", kind="prod", platform="process", engine=found,
                engine_name=engine, reference="model", weights=None, context_length=context_length or _CONTEXT,
                max_concurrency=_CONCURRENCY, cpus=8, profile={},
                settings=(Setting(name=setting, value=value, origin=Origin(kind="modelfile")),))


def _code(value: Any) -> str:
    from modelkit.engines.launch import RUN

    text = str(value).replace(f"{RUN}/", "")  # where the engine runs is nobody's business here
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
