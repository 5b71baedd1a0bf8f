"""Speed: published measurements lie inside the interval that is printed for them.

Points 1 to 11 and the table are those of the research's sections 5.2 and 5.3. The constants of `rates` were chosen with
the points in view; of the table each row is predicted from the other rows alone.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest

from modelkit.models.anatomy import Anatomy
from modelkit.planning.fit.calibration import Calibration, Point, Terms
from modelkit.planning.fit.hardware import Device, Hardware
from modelkit.planning.fit.interval import Interval
from modelkit.planning.fit.profiles import profile
from modelkit.planning.fit.rates import SPREAD_GPU
from modelkit.planning.fit.serving import Serving
from modelkit.planning.fit.speed import speed
from modelkit.planning.fit.steps import prompt_terms, step_terms
from modelkit.planning.fit.users import cost_per_million, users_at
from modelkit.planning.fit.work import Step, touched_share, work
from tests.unit.fit.speed_shapes import (
    DEEPSEEK_V2_LITE,
    LLAMA2_7B,
    LLAMA3_8B,
    OLMOE,
    QWEN3_30B,
    QWEN15_MOE,
    SMOLLM2,
    anatomy,
)


def llama(context: int = 4096, users: int = 1, **said: int) -> Serving:
    return Serving("llama.cpp", context, users, "f16", **said)  # type: ignore[arg-type]


def vllm(users: int = 1, **said: int) -> Serving:
    return Serving("vllm", 4096, users, "auto", dtype="float16", **said)  # type: ignore[arg-type]


Q4_0 = anatomy(LLAMA3_8B, "Q4_0", output="Q6_K")
Q4_K_M = anatomy(LLAMA3_8B, "Q4_K", output="Q6_K", more="Q6_K")
F16 = anatomy(LLAMA3_8B, "F16")
OLD = anatomy(LLAMA2_7B, "Q4_0", output="Q6_K")

class Published(NamedTuple):
    """A measured speed, and where it is in what is predicted."""

    point: str
    what: str
    model: Anatomy
    serving: Serving
    machine: str
    figure: str
    measured: float


POINTS = [
    Published("1", "3090, Q4_0", Q4_0, llama(), "rtx3090", "decode", 156.6),
    Published("2", "4090 behind 32768 tokens", Q4_0, llama(32769), "rtx4090", "decode_full", 102.8),
    Published("3", "3080, Q4_K_M", Q4_K_M, llama(), "rtx3080", "decode", 112.0),
    Published("4", "A100, bfloat16, vLLM 0.23", F16, vllm(), "a100-40gb", "decode", 75.0),
    Published("5", "H100, float16, vLLM 0.21", F16, vllm(), "h100", "decode", 1000 / 6.48),
    Published("5", "H100, 4 users", F16, vllm(4), "h100", "user", 1000 / 6.59),
    Published("5", "H100, 16 users", F16, vllm(16), "h100", "user", 1000 / 10.94),
    Published("6", "M4", Q4_K_M, llama(), "m4", "decode", 20.9),
    Published("7", "M1 Max", Q4_K_M, llama(), "m1-max", "decode", 46.2),
    Published("8", "3090, a build of 2024-04", OLD, llama(), "rtx3090", "decode", 128.0),
    Published("8", "4090, a build of 2024-04", OLD, llama(), "rtx4090", "decode", 147.0),
    *(Published("9", name, anatomy(shape, "Q4_K", output="Q6_K", more="Q6_K"), llama(), "rx6900xt", "decode", measured)
      for name, shape, measured in (("OLMoE", OLMOE, 258.0), ("Qwen1.5-MoE", QWEN15_MOE, 129.0),
                                    ("DeepSeek-V2-Lite", DEEPSEEK_V2_LITE, 124.0))),
    *(Published("10", f"3090, {users} users", Q4_0, llama(4096, users), "rtx3090", "total", measured)
      for users, measured in ((1, 156.6), (2, 279.9), (4, 470.5), (8, 583.8))),
    Published("11", "SmolLM2 in Q4_1 on one core", anatomy(SMOLLM2, "Q4_1", embedding="Q8_0"), llama(),
              "cpu:ddr4-3200x1+1c", "decode", 62.0),
]


@pytest.mark.parametrize("one", POINTS, ids=[f"{one.point} {one.what}" for one in POINTS])
def test_published_points_lie_inside(one: Published) -> None:
    said = speed(one.model, one.serving, profile(one.machine), prompt=16)
    assert said is not None
    interval = getattr(said, one.figure)
    assert one.measured in interval
    if not one.machine.startswith("cpu"):
        assert interval.high / interval.low <= 2
    assert not said.calibrated


RUNGS = {"F16": (F16, 29.17), "Q8_0": (anatomy(LLAMA3_8B, "Q8_0"), 50.93), "Q6_K": (anatomy(LLAMA3_8B, "Q6_K"), 58.67),
         "Q5_K_M": (anatomy(LLAMA3_8B, "Q5_K", output="Q6_K", more="Q6_K"), 67.23), "Q4_K_M": (Q4_K_M, 71.93),
         "Q4_K_S": (anatomy(LLAMA3_8B, "Q4_K", output="Q6_K"), 76.71),
         "Q3_K_M": (anatomy(LLAMA3_8B, "Q3_K", output="Q6_K", more="Q4_K"), 71.68),
         "Q2_K_S": (anatomy(LLAMA3_8B, "Q2_K", output="Q6_K"), 90.01)}
"""llama.cpp's own table (tools/quantize/README): tokens a second of 128, on a GPU that it does not name."""


@pytest.mark.parametrize("bandwidth", [450e9, 600e9, 900e9], ids=["450", "600", "900"])
@pytest.mark.parametrize("rung", RUNGS)
def test_each_rung_is_predicted_from_the_others(rung: str, bandwidth: float) -> None:
    """Whatever one takes the unknown GPU for: its own measurements correct that."""
    machine = Hardware("one", (Device("one", "cuda", 48 << 30, bandwidth=bandwidth, flops=75 * bandwidth),))
    others = [Point(step_terms(model, llama(), machine, Step(1, 1, 64)), 1 / measured)
              for name, (model, measured) in RUNGS.items() if name != rung]
    model, measured = RUNGS[rung]
    said = speed(model, llama(), machine, calibration=Calibration.of(SPREAD_GPU, others))
    assert said is not None and said.calibrated
    assert measured in said.decode
    assert said.decode.high / said.decode.expected <= 1.15


def test_a_prompts_speed_on_a_4090_and_that_it_hardly_depends_on_the_precision() -> None:
    """9,278 tokens a second of 2,048 in steps of 512 (llama.cpp's pull request 7860); the table's were within 1.3 of
    each other over all precisions."""
    said = speed(anatomy(LLAMA3_8B, "Q4_K", output="Q6_K"), llama(), profile("rtx4090"), prompt=2048)
    assert said is not None and 9278 in said.prefill
    rates = [speed(model, llama(), profile("rtx4090")).prefill.expected for model, _ in RUNGS.values()]  # type: ignore[union-attr]
    assert max(rates) / min(rates) < 923 / 709


def test_experts_are_read_as_many_as_are_needed() -> None:
    model = anatomy(QWEN3_30B, "Q4_K")
    assert touched_share(model, 1) * 128 == pytest.approx(8)
    assert touched_share(model, 16) * 128 == pytest.approx(128 * (1 - (1 - 8 / 128) ** 16))
    one, all_ = (work(model, llama(), Step(users, 1, 0)) for users in (1, 10_000))
    assert 1.5e9 < one.bytes < 2.1e9  # of 17 GB
    assert sum(all_.read.values()) == pytest.approx(sum(w.size for w in model.weights if w.role != "embedding"))
    assert one.operations == pytest.approx(all_.operations / 10_000)


def test_the_embedding_is_read_where_it_is_the_output_too() -> None:
    tied, own = work(anatomy(SMOLLM2, "Q4_1"), llama(), Step(1, 1, 0)), work(Q4_0, llama(), Step(1, 1, 0))
    assert sum(tied.read.values()) == anatomy(SMOLLM2, "Q4_1").weight_bytes
    assert sum(own.read.values()) == Q4_0.weight_bytes - Q4_0.bytes_of("embedding")
    assert own.cache == 0
    assert work(Q4_0, llama(), Step(1, 1, 1000)).cache == 1000 * 131072


def test_vllm_reads_the_precision_that_it_computes_with() -> None:
    wide = work(anatomy(LLAMA3_8B, "BF16"), Serving("vllm", 4096, 1, "auto", dtype="float32"), Step(1, 1, 100))
    assert set(wide.read) == {"F32"}
    assert wide.cache == 100 * 131072 * 2


def test_offload_lies_between_all_and_nothing_and_grows_with_every_layer() -> None:
    machine = profile("rtx4090+64gb+ddr5-5600x2")
    paces = [speed(Q4_K_M, llama(gpu_layers=count), machine).decode.expected for count in range(34)]  # type: ignore[union-attr]
    assert paces == sorted(paces)
    assert paces[33] == pytest.approx(speed(Q4_K_M, llama(), machine).decode.expected)  # type: ignore[union-attr]
    assert paces[0] * 4 < paces[33]


@pytest.mark.parametrize(("machine", "least"), [("4xh100", 2.0), ("4xl4", 1.5)])
def test_tensor_parallel_divides_what_is_read_and_pays_for_the_exchange(machine: str, least: float) -> None:
    one, four = (speed(F16, vllm(tensor_parallel=count), profile(machine)) for count in (1, 4))
    assert one is not None and four is not None
    assert least < four.decode.expected / one.decode.expected < 4.0
    slow = step_terms(F16, vllm(tensor_parallel=4), profile("4xl4"), Step(1, 1, 0))
    fast = step_terms(F16, vllm(tensor_parallel=4), profile("4xh100"), Step(1, 1, 0))
    assert slow.link > 2 * fast.link > 0


def test_copies_share_the_users() -> None:
    one, two = (speed(F16, vllm(16, data_parallel=count), profile("2xh100")) for count in (1, 2))
    half = speed(F16, vllm(8), profile("h100"))
    assert one is not None and two is not None and half is not None
    assert two.user == half.user
    assert two.total.expected == pytest.approx(2 * half.total.expected) and two.total.expected > one.total.expected


def test_fewer_users_keep_a_stricter_limit() -> None:
    machine = profile("h100")
    loose, strict, never = (users_at("itl.p95", limit, F16, vllm(), machine) for limit in (0.05, 0.012, 0.001))
    assert loose is not None and strict is not None and never is not None
    assert loose.sure <= loose.expected <= loose.best
    assert 0 < strict.expected < loose.expected
    assert loose.at is not None and 1 / loose.at.user.expected <= 0.05
    assert (never.expected, never.at) == (0, None)
    assert users_at("e2e.p95", 1, F16, vllm(), machine) is None
    capped = users_at("itl.p95", 0.05, F16, vllm(), machine, most=3)
    assert capped is not None and capped.best == 3


def test_a_million_tokens_cost_less_where_more_are_made() -> None:
    cost = cost_per_million(3.6, Interval(500, 1000, 2000))
    assert [cost.low, cost.expected, cost.high] == pytest.approx([0.5, 1.0, 2.0])


@pytest.mark.parametrize("machine", [Hardware("?"), Hardware("?", (Device("?", "cuda", 1 << 34),))],
                         ids=["processor", "GPU"])
def test_nothing_is_said_of_hardware_that_nobody_knows(machine: Hardware) -> None:
    assert speed(Q4_0, llama(), machine) is None
    assert users_at("itl.p95", 1, Q4_0, llama(), machine) is None


def test_a_model_that_does_not_answer_has_no_speed() -> None:
    assert speed(Q4_0, Serving("llama.cpp", 512, 4, "f16", task="embed"), profile("rtx4090")) is None


def test_what_it_is_made_of_is_said() -> None:
    said = speed(anatomy(QWEN3_30B, "Q4_K"), llama(8192, 4), profile("rtx4090"))
    assert said is not None
    words = "\n".join(said.how)
    for part in ("GB read at 0.82 of 1,008 GB/s", "behind 8192 tokens", "of 128 experts a token needs 8", "4 at once",
                 "a prompt of 512 tokens", "nothing was measured"):
        assert part in words
    corrected = Calibration.of(SPREAD_GPU, [Point(Terms(memory=0.01), 0.02)])
    again = speed(Q4_0, llama(), profile("rtx4090"), calibration=corrected)
    assert again is not None and again.how[-1].startswith("corrected by 1 measurement of this machine: reading x 1.")


@pytest.mark.parametrize(("users", "processor_seconds"), [(8, 0.208), (16, 0.222)])
def test_vllm_on_a_processor(users: int, processor_seconds: float) -> None:
    """Measured on two cores, in float32 (docs/benchmarks.md)."""
    machine = Hardware("here", cpus=2, cpu_bandwidth=34e9, cpu_flops=33.6e9)
    serving = Serving("vllm", 2048, users, "auto", dtype="float32", on_cpu=True)
    said = speed(anatomy(SMOLLM2, "BF16"), serving, machine, prompt=64)
    assert said is not None and users / (processor_seconds / 2) in said.total


def test_a_long_prompt_is_read_in_steps() -> None:
    machine = profile("rtx4090")
    parts = prompt_terms(Q4_0, llama(), machine, 1300)
    whole = sum((step_terms(Q4_0, llama(), machine, Step(1, size, start)).seconds()
                 for size, start in ((512, 0), (512, 512), (276, 1024))), 0.0)
    assert parts.seconds() == pytest.approx(whole, rel=0.02)
