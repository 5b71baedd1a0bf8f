"""What is compared of two stages that embed: the texts that they read, since there is no template."""

from __future__ import annotations

from typing import Any

import pytest

from modelkit.release.parity import Conversation
from modelkit.release.parity.engine import engine_side


@pytest.mark.parametrize(("task", "asked"), [
    ("chat", {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}],
              "add_generation_prompt": True}),
    ("embed", {"prompt": "Hi\nHo"}), ("rerank", {"prompt": "Hi\nHo"})])
def test_an_engine_is_asked_for_what_its_task_reads(task: str, asked: Any) -> None:
    seen: list[Any] = []

    def call(path: str, body: Any) -> dict[str, Any]:
        seen.append((path, body))
        return {"tokens": [1]}

    render = engine_side(call, "m", task)
    said = ({"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"})
    assert render(Conversation("c", said)).ids == (1,)
    assert seen == [("/tokenize", {"model": "m", **asked, "return_token_strs": True})]
