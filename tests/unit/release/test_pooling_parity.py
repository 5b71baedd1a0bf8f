"""What is compared of two stages that embed: the texts that they read, since there is no template."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from modelkit.release import promote
from modelkit.release.parity import Conversation


@pytest.mark.parametrize(("task", "asked"), [
    ("chat", {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}],
              "add_generation_prompt": True}),
    ("embed", {"prompt": "Hi\nHo"}), ("rerank", {"prompt": "Hi\nHo"})])
def test_an_engine_is_asked_for_what_its_task_reads(task: str, asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def call(_: str, path: str, body: Any) -> dict[str, Any]:
        seen.append((path, body))
        return {"tokens": [1]}

    monkeypatch.setattr(promote, "call", call)
    render = promote._renderer("s", SimpleNamespace(name="m", task=task))  # type: ignore[arg-type]
    said = ({"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"})
    assert render(Conversation("c", said)).ids == (1,)
    assert seen == [("/tokenize", {"model": "m", **asked, "return_token_strs": True})]
