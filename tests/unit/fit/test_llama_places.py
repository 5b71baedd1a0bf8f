"""What of a model llama.cpp puts where, and what it takes there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from modelkit.llamacpp.config import Config
from modelkit.llamacpp.room import SCORED, chat_room
from modelkit.models.anatomy import Anatomy, Layer, Weight
from modelkit.planning.fit import llama_cpp, llama_log
from modelkit.planning.fit.hardware import Device, Hardware
from modelkit.planning.fit.llama_sizes import Sizes
from modelkit.planning.fit.serving import Serving
from modelkit.planning.forms import OWN

MIB, GIB = 2**20, 2**30
CARD = Device("a card", "cuda", 24 * GIB)
SERVED = Serving("llama.cpp", 4096, 1, "f16", kv_tokens=4096, provider=OWN)


def model(layers: int = 4, tied: bool = False, state: int = 0) -> Anatomy:
    """Layers of 100 MiB, an embedding and an output of 50."""
    weights = [Weight("token_embd.weight", "embedding", None, (1000, 512), "Q8_0", 50 * MIB)]
    weights += [Weight(f"blk.{index}.ffn_up.weight", "mlp", index, (2048, 512), "Q8_0", 100 * MIB)
                for index in range(layers)]
    if not tied:
        weights.append(Weight("output.weight", "output", None, (1000, 512), "Q8_0", 50 * MIB))
    one = Layer("full", heads=8, kv_heads=8, key_width=512, value_width=512, state_bytes=state)
    return Anatomy("llama", "gguf", "Q8_0", tuple(weights), (one,) * layers, 1000, 512, 2048, 8, 8192, tied)


def weights(anatomy: Anatomy, serving: Serving, hardware: Hardware) -> dict[str, int]:
    lines = llama_cpp.budget(anatomy, serving, hardware).lines
    return {line.place: line.size // MIB for line in lines if line.name == "weights"}


@pytest.mark.parametrize(("devices", "layers", "tied", "expected"), [
    pytest.param((), -1, False, {"ram": 500}, id="no gpu"),
    pytest.param((CARD,), -1, False, {"ram": 50, "gpu0": 450}, id="all"),
    pytest.param((CARD,), 99, True, {"ram": 50, "gpu0": 450}, id="tied: the embedding twice"),
    pytest.param((CARD,), 0, False, {"ram": 500}, id="none"),
    pytest.param((CARD,), 1, False, {"ram": 450, "gpu0": 50}, id="the output first"),
    pytest.param((CARD,), 3, False, {"ram": 250, "gpu0": 250}, id="then the last layers"),
    pytest.param((CARD, CARD), -1, False, {"ram": 50, "gpu0": 300, "gpu1": 150}, id="two alike"),
    pytest.param((replace(CARD, free=6 * GIB), replace(CARD, free=18 * GIB)), -1, False,
                 {"ram": 50, "gpu0": 200, "gpu1": 250}, id="by what is free")])
def test_layers_go_where_llama_cpp_puts_them(devices: tuple[Device, ...], layers: int, tied: bool,
                                             expected: dict[str, int]) -> None:
    assert weights(model(tied=tied), replace(SERVED, gpu_layers=layers), Hardware("a machine", devices)) == expected


def test_a_layers_cache_lies_beside_it() -> None:
    found = llama_cpp.budget(model(), replace(SERVED, gpu_layers=3), Hardware("a machine", (CARD,)))
    cache = {line.place: line.size for line in found.lines if line.name == "attention cache"}
    assert cache == {"ram": 2 * 4096 * 1024 * 2, "gpu0": 2 * 4096 * 1024 * 2}


def test_a_gpu_keeps_something_for_its_runtime_and_free() -> None:
    found = llama_cpp.budget(model(), SERVED, Hardware("a machine", (CARD,)))
    assert {line.name for line in found.lines if line.place == "gpu0"} == {
        "weights", "attention cache", "compute", "reserve", "margin"}
    assert any("were not compared" in note for note in found.notes)


def test_one_memory_is_not_counted_twice() -> None:
    apple = Hardware("a laptop", (Device("M4", "metal", 12 * GIB, link="unified"),), ram=16 * GIB)
    found = llama_cpp.budget(model(), SERVED, apple)
    assert found.capacity["ram"] == 16 * GIB - found.total("gpu0") and found.capacity["gpu0"] == 12 * GIB


def test_what_llama_cpp_says_stands_before_formulas() -> None:
    asked = Sizes(kv=1, compute={"ram": 7 * MIB}, output=4000)
    lines = {line.name: line for line in llama_cpp.budget(model(), SERVED, Hardware(""), asked=asked).lines}
    assert (lines["compute"].size, lines["compute"].source) == (7 * MIB, "engine")
    assert (lines["output"].size, lines["output"].source) == (4000, "engine")


@pytest.mark.parametrize("asked", [Sizes(problem="it is not here"), None], ids=["a problem", "nobody"])
def test_without_an_answer_formulas_stand(asked: Sizes | None) -> None:
    found = llama_cpp.budget(model(), SERVED, Hardware(""), asked=asked)
    assert {line.source for line in found.lines if line.name == "compute"} == {"formula"}


def test_states_are_kept_for_those_who_run_alone() -> None:
    """The plan is made before the model is known, and says as many sequences as a model with a cache would have."""
    said = Config("m", "s", "p", "f", context_length=4096, max_concurrency=4)
    room = chat_room(said)
    plan = replace(SERVED, concurrency=4, kv_tokens=room.tokens, sequences=room.sequences, outputs=room.outputs)
    known, really = llama_cpp.settled(model(state=MIB), plan), chat_room(said, recurrent=True)
    assert (known.sequences, known.outputs) == (really.sequences, really.outputs) == (4, 4 + SCORED)
    assert llama_cpp.settled(model(), plan) is plan
    states = [line for line in llama_cpp.budget(model(state=MIB), plan, Hardware("")).lines
              if line.name == "state cache"]
    assert [line.size for line in states] == [4 * 4 * MIB]


def test_the_process_holds_less_than_its_budget_where_nobody_asks_for_logits() -> None:
    wide = replace(model(), vocabulary=100_000)
    serving = replace(SERVED, sequences=18, outputs=146)
    assert llama_cpp.resident(wide, serving) < llama_cpp.budget(wide, serving, Hardware("")).total("ram")


def test_a_file_that_is_copied_stays_mapped() -> None:
    packed = replace(model(), weights=tuple(replace(one, type="Q4_0") for one in model().weights))
    assert llama_cpp.resident(packed, SERVED) - llama_cpp.resident(packed, replace(SERVED, mmap=False)) == 450 * MIB
    assert llama_cpp.resident(model(), SERVED) == llama_cpp.resident(model(), replace(SERVED, mmap=False))


LOG = """\
load_tensors:   CPU_Mapped model buffer size =    52.00 MiB
load_tensors:        CUDA0 model buffer size =  4403.49 MiB
load_tensors:   CPU_REPACK model buffer size =     8.00 MiB
llama_context:  CUDA_Host  output buffer size =     0.49 MiB
llama_kv_cache:      CUDA0 KV buffer size =   512.00 MiB
llama_kv_cache:      CUDA1 KV buffer size =   256.00 MiB
llama_kv_cache: size =  768.00 MiB (  8192 cells,  32 layers,  1/1 seqs), K (f16):  384.00 MiB, V (f16):  384.00 MiB
llama_memory_recurrent:  CPU RS buffer size =    55.37 MiB
sched_reserve:      CUDA0 compute buffer size =   258.50 MiB
sched_reserve:  CUDA_Host compute buffer size =    24.01 MiB
"""


def test_a_log_is_read_by_place_and_kind() -> None:
    found = {key: round(size / MIB, 2) for key, size in llama_log.read(LOG).items()}
    assert found == {("ram", "model"): 60, ("gpu0", "model"): 4403.49, ("ram", "output"): .49, ("gpu0", "KV"): 512,
                     ("gpu1", "KV"): 256, ("ram", "RS"): 55.37, ("gpu0", "compute"): 258.5, ("ram", "compute"): 24.01}
    assert [(one.size // MIB, one.cells, one.layers) for one in llama_log.caches(LOG)] == [(768, 8192, 32)]


@pytest.mark.parametrize(("buffer", "place"), [("CPU", "ram"), ("CPU_Mapped", "ram"), ("CUDA0", "gpu0"),
                                               ("ROCm1", "gpu1"), ("MTL0_Mapped", "gpu0"), ("Vulkan2", "gpu2"),
                                               ("CUDA_Host", "ram"), ("Vulkan0_Host", "ram"), ("BLAS", "ram")])
def test_buffers_have_places(buffer: str, place: str) -> None:
    assert llama_log.place(buffer) == place
