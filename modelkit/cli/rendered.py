"""What a stage's prompts are made of, read from its files: the template, the texts of special tokens, the tokenizer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelkit.failure import Failure

if TYPE_CHECKING:
    from modelkit.cli.stages import Stages
    from modelkit.cli.weights import Found
    from modelkit.planning.plan import Plan
    from modelkit.release.parity.files import Files


def files_of(stages: Stages, stage: str) -> Files:
    """A stage's side of a comparison without engines. Raises Failure for a model that is not on this machine, and for
    one whose prompts no template writes."""
    from modelkit.release.parity.files import Files

    found = stages.look(stage)
    plan = stages.plan(stage, found)
    template = template_of(plan, found)
    weights = plan.weights or found.base
    if weights is None:
        raise Failure("model-missing", f"{plan.reference} is not on this machine, and its tokenizer with it",
                      f"modelkit pull {plan.modelfile}")
    ours = plan.engine is not None and plan.engine.provider == "llama-cpp-python"
    return Files(template, special_texts(found), plan.profile, weights,
                 python=plan.engine.command[0] if ours and plan.engine else None)


def template_of(plan: Plan, found: Found) -> str:
    """The Jinja that the engine renders. Raises Failure where there is none."""
    from modelkit.planning.families import writes_prompts_itself

    if plan.task != "chat":
        raise Failure("no-conversation", f"stage `{plan.stage}` serves `{plan.task}`, which reads texts as they are")
    if plan.engine_name == "vllm" and writes_prompts_itself(plan.shape.architecture):
        raise Failure("prompt-in-code", f"vLLM writes the prompts of {plan.shape.architecture} in code, without a "
                      "template", "ask what runs: POST /tokenize gives the tokens")
    if plan.chat_template is not None:
        return plan.chat_template
    model = found.facts
    if model is None:
        raise Failure("model-missing", f"{plan.reference} is not on this machine, and its chat template with it",
                      f"modelkit pull {plan.modelfile}")
    assert model.chat_template is not None, "planning refuses a model without one"
    return model.chat_template


def special_texts(found: Found) -> dict[str, str]:
    """What a template may write as `bos_token` and `eos_token`."""
    model = found.facts
    known = {"bos_token": model.bos, "eos_token": model.eos} if model is not None else {}
    return {name: text for name, text in known.items() if text is not None}
