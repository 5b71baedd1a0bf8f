"""What is said to vLLM is what each version of it knows, by the tables that were read from its own parser."""

from __future__ import annotations

import pytest

from modelkit.engines import flags, vllm
from tests.unit.platforms.cases import CASES, plan_of

VERSIONS = ("0.29.0", "0.30.0", "0.31.0", "0.32.0", "0.33.0")


OF_VLLM = [case for case in CASES if plan_of(case, "process").engine_name == "vllm"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", OF_VLLM)
def test_every_flag_is_one_of_the_versions(case: str, version: str) -> None:
    plan = plan_of(case, "process")
    assert plan.engine is not None
    known = flags.table("vllm", version)
    assert known is not None
    other = plan.model_copy(update={"engine": plan.engine.model_copy(update={"version": version}), "flags": (),
                                    "flag_origins": ()})
    said = {flags.canonical(word.flag) for word in vllm.words(other) if word.flag.startswith("--")}
    assert said - set(known.by_word) == set()
