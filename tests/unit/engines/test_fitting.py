"""What memory is planned with is what the engine is told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelkit.engines import llama_cpp
from modelkit.engines.fitting import serving
from modelkit.llamacpp.config import Config
from modelkit.llamacpp.room import SCORED, chat_room
from modelkit.planning.plan import Engine
from tests.unit.engines.test_llama_cpp import DRAFT, OURS, plan

SERVER = Engine(name="llama.cpp", provider="llama-server", version="b11549", command=("/bin/llama-server",))


def test_our_engine_shares_its_cells() -> None:
    found = serving(plan(context_length=1000, max_concurrency=3))
    assert (found.kv_tokens, found.sequences, found.batch, found.kv_type) == (3000, 22, 512, "f16")
    assert (found.unified, found.full_windows, found.provider, found.outputs) == (True, True, "llama-cpp-python",
                                                                                   3 + SCORED)


@pytest.mark.parametrize("settings", [{}, {"num_batch": 64}, {"serve_kv_cache": "q8_0"}, {"use_mmap": False},
                                      {"serve_speculative": "ngram", "draft_num_predict": 5}],
                         ids=lambda one: " ".join(one) or "none")
def test_it_is_what_the_launch_writes(settings: dict[str, Any]) -> None:
    made = plan(**settings)
    found, launch = serving(made), llama_cpp.launch(made)
    written = json.loads(next(file.content for file in launch.files if file.path == "llamacpp.json"))
    written.pop("schema")
    config = Config(**written)
    room = chat_room(config)
    assert (found.kv_tokens, found.sequences, found.batch, found.outputs) == (room.tokens, room.sequences,
                                                                              room.physical, room.outputs)
    assert (found.kv_type, found.mmap, found.context_length) == (config.kv_cache, config.use_mmap,
                                                                 config.context_length)


def test_a_draft_model_has_room_of_its_own() -> None:
    found = serving(plan(max_concurrency=9, more={"draft": DRAFT}, draft="small"))
    assert found.draft == (4000, 4)
    assert serving(plan()).draft == (0, 0)


def test_a_server_gives_each_slot_its_part() -> None:
    found = serving(plan(engine=SERVER, context_length=1000, max_concurrency=3, serve_kv_cache="fp8", num_batch=256))
    assert (found.kv_tokens, found.sequences, found.unified, found.full_windows) == (3000, 3, False, False)
    assert (found.kv_type, found.batch, found.outputs, found.provider) == ("q8_0", 256, 3, "llama-server")


def test_a_guessing_server_keeps_a_row_for_each_guess() -> None:
    found = serving(plan(engine=SERVER, max_concurrency=3, serve_speculative="ngram", draft_num_predict=5))
    assert found.outputs == 3 * (1 + 5)


def test_gpu_layers_are_the_modelfiles() -> None:
    cuda = OURS.model_copy(update={"variant": "cuda"})
    assert serving(plan(engine=cuda, num_gpu=12)).gpu_layers == 12
    assert serving(plan(engine=SERVER, num_gpu=7)).gpu_layers == 7
    assert serving(plan(engine=cuda)).gpu_layers == -1
