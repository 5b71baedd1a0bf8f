"""`QUANTIZE auto`: what is chosen on which machine, what the lock keeps of it, and what is refused before loading."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelkit.cli.fit.machine import class_of
from modelkit.planning.fit.hardware import Hardware
from tests.unit.cli.conftest import Run, write
from tests.unit.models.gguf_files import TensorOf, gguf, pair
from tests.unit.models.small_model import TOKENS, pairs

MIB = 1 << 20
LAYERS, WIDTH, HIDDEN, HEADS, KV_HEADS = 4, 512, 2048, 8, 2
TEXT = "NAME bot\nFROM ./model.gguf\nPARAMETER num_ctx 512\nSERVE max_concurrency 1\nQUANTIZE auto\n"
LOCK = Path("Modelfile.lock")


def model(path: Path) -> None:
    """A model in bfloat16 of 16 M parameters, all of them 0."""
    head = WIDTH // HEADS
    shapes = {"token_embd.weight": (WIDTH, TOKENS), "output_norm.weight": (WIDTH,)} | {
        f"blk.{layer}.{name}.weight": shape for layer in range(LAYERS) for name, shape in {
            "attn_norm": (WIDTH,), "attn_q": (WIDTH, WIDTH), "attn_k": (WIDTH, KV_HEADS * head),
            "attn_v": (WIDTH, KV_HEADS * head), "attn_output": (WIDTH, WIDTH), "ffn_norm": (WIDTH,),
            "ffn_gate": (WIDTH, HIDDEN), "ffn_up": (WIDTH, HIDDEN), "ffn_down": (HIDDEN, WIDTH)}.items()}
    tensors = [TensorOf(name, shape, 0 if len(shape) == 1 else 30,
                        bytes((4 if len(shape) == 1 else 2) * shape[0] * (shape[1] if len(shape) > 1 else 1)))
               for name, shape in shapes.items()]
    said = pairs(block_count=LAYERS, embedding_length=WIDTH, feed_forward_length=HIDDEN, context_length=4096,
                 attention__head_count=HEADS, attention__head_count_kv=KV_HEADS, rope__dimension_count=head)
    said[1] = pair("general.file_type", "uint32", 32)
    path.write_bytes(gguf(said, tensors))


class Machine:
    """This machine, of any size."""

    def __init__(self) -> None:
        self.hardware = Hardware("this machine", cpus=4, ram=8 << 30, ram_free=6 << 30, cpu_bandwidth=40e9,
                                 cpu_flops=6e10, source="measured")

    def __call__(self, *_: Any, **__: Any) -> Hardware:
        return self.hardware

    def holds(self, size: int) -> None:
        self.hardware = replace(self.hardware, ram=size, ram_free=size)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    found = Machine()
    monkeypatch.setattr("modelkit.runtime.hardware.here", found)
    return found


@pytest.fixture
def auto(run: Run, machine: Machine) -> Run:
    model(Path("model.gguf"))
    write(TEXT)
    return run


def need(run: Run, precision: str) -> int:
    """Bytes that it takes in a precision."""
    document = json.loads(run("fit", "--json")[1])
    return int(next(one["budget"]["total"]["ram"] for one in document["ladder"] if one["precision"] == precision))


def chosen(run: Run, *words: str) -> tuple[str, str]:
    """QUANTIZE's value in the plan, and where it is from."""
    code, out, err = run("plan", "--json", *words)
    assert code == 0, err
    said = next(one for one in json.loads(out)["settings"] if one["name"] == "quantize")
    return said["value"], f"{said['origin']['kind']} {said['origin']['where']}"


def test_a_large_machine_takes_the_base_as_it_is(auto: Run) -> None:
    assert chosen(auto) == ("none", "hardware for cpu 4 cores 8+ GiB")


@pytest.mark.parametrize("precision", ["Q8_0", "Q6_K", "Q4_K_M"])
def test_a_small_machine_takes_what_fits(precision: str, auto: Run, machine: Machine) -> None:
    size = need(auto, precision)
    machine.holds(size)
    assert chosen(auto)[0] == precision
    machine.holds(size - 1)
    assert chosen(auto)[0] != precision


def test_a_plan_says_what_has_to_be_made(auto: Run, machine: Machine) -> None:
    machine.holds(need(auto, "Q8_0"))
    assert "quantize it to Q8_0" in auto("plan")[1]


def test_the_lock_keeps_the_choice_and_says_when_it_is_for_another_machine(auto: Run, machine: Machine) -> None:
    machine.holds(need(auto, "Q8_0"))
    assert auto("lock")[0] == 0
    rung = next(one for one in tomllib.loads(LOCK.read_text())["stage"] if one["name"] == "dev")
    assert rung["quantize"] == "auto"
    small = rung["rung"]["hardware"]
    assert rung["rung"]["precision"] == "Q8_0" and small.startswith("cpu 4 cores ") and small.endswith("+ MiB")
    assert chosen(auto) == ("Q8_0", f"lock for {small}")
    machine.holds(8 << 30)
    assert auto("lock", "--check")[0] == 0  # what it says holds; it is only not the best for this machine
    assert chosen(auto, "--frozen") == ("Q8_0", f"lock for {small}")
    assert chosen(auto) == ("none", "hardware for cpu 4 cores 8+ GiB")
    assert (f"chose Q8_0 for {small}, and takes the base's own precision on cpu 4 cores 8+ GiB"
            in auto("plan")[1])
    assert auto("lock")[0] == 0
    assert chosen(auto) == ("none", "lock for cpu 4 cores 8+ GiB")


def of_one_class(run: Run) -> tuple[int, int]:
    """Sizes of machines that are of one class, one of which holds Q8_0, the other what the base is."""
    for context in range(512, 4096, 256):  # an engine's own process is not as large everywhere
        write(TEXT.replace("num_ctx 512", f"num_ctx {context}"))
        small, large = need(run, "Q8_0"), need(run, "BF16")
        if class_of(Hardware("", ram=small)) == class_of(Hardware("", ram=large)):
            return small, large
    raise AssertionError("classes are narrower than a precision's size")


def test_a_choice_stays_on_machines_of_one_class_until_an_upgrade(auto: Run, machine: Machine) -> None:
    small, large = of_one_class(auto)
    machine.holds(small)
    assert auto("lock")[0] == 0
    machine.holds(large)
    assert chosen(auto)[0] == "Q8_0"
    assert auto("lock")[0] == 0 and chosen(auto)[0] == "Q8_0"
    assert auto("lock", "--upgrade")[0] == 0
    assert chosen(auto)[0] == "none"


@pytest.mark.parametrize(("old", "new"), [("QUANTIZE auto", "QUANTIZE auto >= Q4_0"), ("num_ctx 512", "num_ctx 256")])
def test_another_wish_is_answered_anew(old: str, new: str, auto: Run, machine: Machine) -> None:
    machine.holds(need(auto, "Q8_0"))
    assert auto("lock")[0] == 0
    write(TEXT.replace(old, new))
    assert auto("lock", "--check")[0] == 1
    assert chosen(auto)[1].startswith("hardware")


def test_a_floor_that_cannot_be_kept_is_refused(auto: Run, machine: Machine) -> None:
    machine.holds(need(auto, "Q6_K"))
    write(TEXT.replace("auto", "auto >= Q8_0"))
    code, _, err = auto("plan")
    assert code == 1 and "error[does-not-fit]" in err
    code, out, _ = auto("up", "-d", "--json")
    assert code == 1 and json.loads(out)["error"]["code"] == "does-not-fit"


def test_a_floor_above_the_base_is_refused(auto: Run) -> None:
    write(TEXT.replace("auto", "auto >= F32"))
    code, _, err = auto("up", "-d")
    assert code == 1 and "error[no-precision]" in err and "the base is BF16" in err


def test_a_speed_that_nothing_has_is_refused_with_all_of_them(auto: Run) -> None:
    write(TEXT.replace("auto", "auto speed >= 1000000 tok/s"))
    code, _, err = auto("up", "-d")
    assert code == 1 and "error[too-slow]" in err
    assert "Q8_0: too slow" in err


def test_a_speed_takes_a_coarser_one(auto: Run) -> None:
    ladder = json.loads(auto("fit", "--json")[1])["ladder"]
    fast = {one["precision"]: one["speed"]["decode_full"]["expected"] for one in ladder if one["speed"]}
    assert fast["Q4_0"] > fast["BF16"]
    write(TEXT.replace("auto", f"auto speed >= {fast['Q4_0'] * 0.999:.6f}"))
    said = chosen(auto)[0]
    assert said != "none" and fast[said] >= fast["Q4_0"] * 0.999


def test_what_does_not_fit_is_refused_with_the_sum_and_the_ways_out(auto: Run, machine: Machine) -> None:
    machine.holds(200 * MIB)
    write(TEXT.replace("QUANTIZE auto\n", "").replace("max_concurrency 1", "max_concurrency 512"))
    code, _, err = auto("up", "-d")
    assert code == 1 and "error[does-not-fit]: stage `dev` needs " in err and "there are 200.0 MiB" in err
    assert "| attention cache" in err and "| weights" in err
    assert "SERVE kv_cache q8_0:" in err or "SERVE max_concurrency" in err
    assert "modelkit fit Modelfile -s dev" in err
    assert not LOCK.exists()
    code, out, _ = auto("up", "-d", "--json")
    error = json.loads(out)["error"]
    assert error["needs"] > error["has"] == 200 * MIB and error["ways_out"][0]["fits"]


def test_memory_that_others_have_now_is_told_from_memory_in_all(auto: Run, machine: Machine,
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelkit.cli.fit.fitting._swap", lambda: 0)
    machine.hardware = replace(machine.hardware, ram_free=20 * MIB)
    code, _, err = auto("up", "-d")
    assert code == 1 and "error[no-room-now]" in err and "other programs leave 20.0 MiB of 8.0 GiB" in err
