"""llama.cpp on our own engine: `modelkit.llamacpp` in a Python that has llama-cpp-python.

One process has the engine and the contract in it. Where its Python is not ours, the sources of both go into the run
directory, so that the engine is always this modelkit's. What other providers of llama.cpp do is `llama_server`.
"""

from __future__ import annotations

import json

from modelkit.engines import table
from modelkit.engines.container import Container
from modelkit.engines.flags import is_flag
from modelkit.engines.launch import RUN, File, Launch
from modelkit.engines.llama_cpp_settings import SETTINGS, TEMPLATE
from modelkit.engines.llama_cpp_words import config, in_our_python, presume_known, words
from modelkit.engines.llama_exits import explain_exit
from modelkit.engines.llama_server import container as _container
from modelkit.engines.sources import sources
from modelkit.engines.word import variables
from modelkit.failure import Failure
from modelkit.planning.plan import Lowered, Plan

__all__ = ["SETTINGS", "container", "explain_exit", "launch", "lower", "presume_machine", "words"]


def lower(plan: Plan) -> tuple[Lowered, ...]:
    """What every setting and every FLAG of the plan becomes."""
    said = [word.partition("=")[0] for word in plan.flags if is_flag(word)]
    return (*table.lower(SETTINGS, plan),
            *(Lowered(setting=f"flag {word}", verdict="equal", target=word) for word in said))


def presume_machine(plan: Plan) -> None:
    """Raise Failure for a FLAG that the engine does not have. llama.cpp computes with every GGUF on every machine."""
    presume_known(plan)


def launch(plan: Plan) -> Launch:
    """How to start the plan's engine. Raises Failure while the engine or the weights are missing, and for a FLAG that
    the engine does not have."""
    if plan.engine is None or plan.weights is None:
        raise Failure("not-ready", f"stage `{plan.stage}` cannot start yet", hint="modelkit plan says what it needs")
    presume_known(plan)
    said = words(plan)
    # RUN is replaced in contents too; a system prompt that happens to contain it must stay as it is.
    profile = json.dumps(plan.profile, indent=1, sort_keys=True).replace(RUN, "\\u0040RUN\\u0040")
    files = [File("profile.json", profile + "\n"),
             File("llamacpp.json", json.dumps(config(said).as_json(), indent=1, sort_keys=True) + "\n")]
    if plan.chat_template is not None:
        files.append(File(TEMPLATE, plan.chat_template))
    if not in_our_python(plan):
        files += sources("contract", "llamacpp", says="The contract and the engine alone.")
    return Launch(
        argv=(plan.engine.command[0], "-P", "-m", "modelkit.llamacpp", "--config", f"{RUN}/llamacpp.json"),
        env=variables(said), files=tuple(files), start_seconds=60.0 + plan.weights.size / 50e6, grace_seconds=10.0,
        log_progress=("loading", "loaded", "ready"))


def container(plan: Plan) -> Container:
    """Raises Failure: there is no image of it."""
    return _container(plan)
