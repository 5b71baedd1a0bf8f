"""POST /detokenize: token ids in, for the engine to spell."""

from __future__ import annotations

import pytest

from modelkit.contract import request
from modelkit.contract.errors import ContractError
from modelkit.contract.profile import Profile

PROFILE = Profile(name="bot", dialect="vllm", context_length=64)


def test_ids_pass_with_the_models_name() -> None:
    assert request.detokenize({"tokens": [1, 2]}, PROFILE) == {"model": "bot", "tokens": [1, 2]}


@pytest.mark.parametrize("body", [{}, {"tokens": "1"}, {"tokens": [-1]}, {"tokens": [True]}, {"tokens": [1], "x": 1},
                                  {"tokens": [1], "model": "other"}])
def test_anything_else_is_refused(body: dict[str, object]) -> None:
    with pytest.raises(ContractError):
        request.detokenize(body, PROFILE)
