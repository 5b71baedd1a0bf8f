"""Which tasks there are, and who can run them: files of one's own, lm-eval, Inspect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import yaml

from modelkit.failure import Failure

Runner = Literal["modelkit", "lm-eval", "inspect"]


@dataclass(frozen=True)
class Task:
    """One of them. `name` is what `EXPECT eval.NAME` calls it, `source` a path or the runner's own word."""

    name: str
    runner: Runner
    source: str


CHAT: Mapping[str, str] = {
    "gsm8k": "arithmetic for children, five examples before each question",
    "gsm8k_cot": "the same, with the steps in the examples",
    "gsm8k_cot_zeroshot": "the same without examples",
    "gsm8k_platinum": "the same with its wrong labels put right",
    "minerva_math500": "500 problems of competitions",
    "aime25": "30 problems of a competition in 2025",
    "mgsm_direct": "arithmetic in eleven languages",
    "ifeval": "instructions whose obedience a program can check",
    "mmlu_generative": "knowledge of 57 fields, the letter written out",
    "mmlu_pro": "harder, with ten choices and steps",
    "arc_challenge_chat": "science for children, the letter written out",
    "gpqa_diamond_cot_zeroshot": "science for graduates (a gated data set)",
    "bbh_cot_fewshot": "23 puzzles, with the steps in the examples",
    "drop": "questions on a text, with counting",
    "triviaqa": "trivia",
    "nq_open": "questions that people ask a search engine",
    "coqa": "a conversation about a text",
    "truthfulqa_gen": "questions that invite a wrong answer",
    "humaneval_instruct": "code (it is run: lm-eval must be told that this is fine)",
    "mbpp_instruct": "code (the same)",
    "jsonschema_bench": "answers to a JSON schema",
    "ruler": "finding things in a long context",
}
"""Tasks of lm-eval that ask for text (`generate_until` in 0.4.13), so that they run over chat."""


Kind = Literal["multiple_choice", "loglikelihood", "loglikelihood_rolling"]


class Refused(NamedTuple):
    """A task that does not: why, and what to run instead."""

    kind: Kind
    instead: tuple[str, ...] = ()


_CHOICE: Kind = "multiple_choice"
REFUSED: Mapping[str, Refused] = {
    "mmlu": Refused(_CHOICE, ("mmlu_generative", "mmlu_pro")),
    "arc_challenge": Refused(_CHOICE, ("arc_challenge_chat",)),
    "arc_easy": Refused(_CHOICE, ("arc_challenge_chat",)), "truthfulqa_mc1": Refused(_CHOICE, ("truthfulqa_gen",)),
    "truthfulqa_mc2": Refused(_CHOICE, ("truthfulqa_gen",)), "leaderboard_bbh": Refused(_CHOICE, ("bbh_cot_fewshot",)),
    "leaderboard_mmlu_pro": Refused(_CHOICE, ("mmlu_pro",)), "leaderboard": Refused(_CHOICE, ("mmlu_pro", "ifeval")),
    "gpqa": Refused(_CHOICE, ("gpqa_diamond_cot_zeroshot",)), "agieval": Refused(_CHOICE, ("mmlu_pro",)),
    "gpqa_main_zeroshot": Refused(_CHOICE, ("gpqa_diamond_cot_zeroshot",)), "tinyMMLU": Refused(_CHOICE, ("mmlu_pro",)),
    "asdiv": Refused("loglikelihood", ("gsm8k",)), "lambada_openai": Refused("loglikelihood"),
    "wikitext": Refused("loglikelihood_rolling"),
} | {name: Refused(_CHOICE) for name in (
    "anli", "blimp", "boolq", "ceval-valid", "cmmlu", "commonsense_qa", "copa", "crows_pairs_english", "glue", "headqa",
    "hellaswag", "hendrycks_ethics", "logiqa", "mathqa", "medqa_4options", "mutual", "openbookqa", "piqa", "prost",
    "pubmedqa", "race", "rte", "sciq", "storycloze", "super-glue-lm-eval-v1", "swag", "toxigen", "webqs", "winogrande",
    "wmdp", "wsc273", "xnli", "xwinograd")}
"""Tasks of lm-eval that compare how likely given texts are. OpenAI's chat API does not say that of a text that the
model did not write."""

_WHY = {
    "multiple_choice": "it compares how likely each given answer is",
    "loglikelihood": "it asks how likely a given text is",
    "loglikelihood_rolling": "it asks how likely a whole text is (perplexity)",
}


def refusal(name: str, kind: str, instead: tuple[str, ...] = ()) -> Failure:
    """Why a task that needs likelihoods is not run."""
    ask = f"ask {' or '.join(instead)} instead" if instead else "take a task that asks for text: `modelkit eval --list`"
    return Failure("eval-needs-likelihoods", f"`{name}` cannot be asked over chat: {_WHY.get(kind, kind)}, and a chat "
                   "API tells only of what the model itself wrote",
                   hint=f"{ask}, or write the questions into a file of your own (docs/eval.md)")


def find_task(word: str, folder: Path) -> Task:
    """The task that a word means: a file, one that lies beside the Modelfile (`NAME.eval.yaml`, `NAME.eval.jsonl`, in
    `folder`), or a task of lm-eval (`gsm8k`, `lm-eval:…`) or Inspect (`task.py@name`, `inspect:…`).

    Raises Failure for a file that is not there, and for what cannot run over chat.
    """
    runner, colon, rest = word.partition(":")
    if colon and runner in ("lm-eval", "inspect"):
        return _listed(rest) if runner == "lm-eval" else Task(rest.rpartition("/")[2], "inspect", rest)
    path, _, _ = word.partition("@")
    if Path(path).suffix in (".jsonl", ".ndjson", ".yaml", ".yml", ".py"):
        return _of_file(Path(path), word)
    for name in (f"{word}.eval.yaml", f"{word}.eval.yml", f"{word}.eval.jsonl"):
        if (folder / name).is_file():
            return _of_file(folder / name, str(folder / name))
    if "/" in word and not word.startswith("inspect_evals/"):
        raise Failure("no-task", f"there is no file {word}", hint="a task's file ends in .jsonl, .yaml or .py")
    return Task(word.rpartition("/")[2], "inspect", word) if "/" in word else _listed(word)


def _of_file(path: Path, word: str) -> Task:
    if not path.is_file():
        raise Failure("no-task", f"there is no file {path}", hint="`modelkit eval --list` has tasks by name")
    name = path.name.removesuffix(path.suffix).removesuffix(".eval")
    if path.suffix == ".py":
        return Task(word.partition("@")[2] or name, "inspect", str(path.resolve()) + word[len(str(path)):])
    if path.suffix in (".yaml", ".yml") and (own := _of_lm_eval(path)):
        return Task(own, "lm-eval", str(path.resolve()))
    return Task(name, "modelkit", str(path))


def _of_lm_eval(path: Path) -> str | None:
    """The name in a task file of lm-eval; None for one of ours. Its `!function`s are not looked at."""
    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor("!function", lambda loader, node: str(node.value))
    try:
        said = yaml.load(path.read_bytes(), Loader)
    except (OSError, yaml.YAMLError, RecursionError, ValueError):
        return None  # whoever reads it as ours says what is wrong, with its place
    task = said.get("task") if isinstance(said, dict) else None
    return task if isinstance(task, str) else None


def _listed(name: str) -> Task:
    if not name:
        raise Failure("usage", "which task?", hint="`modelkit eval --list` has tasks by name")
    if (known := REFUSED.get(name)) is not None:
        raise refusal(name, known.kind, known.instead)
    return Task(name, "lm-eval", name)
