"""Machines by name, and the tables that they are made from."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelkit.failure import Failure
from modelkit.planning.accelerators import ACCELERATORS
from modelkit.planning.fit.cards import CARDS
from modelkit.planning.fit.hardware_page import page
from modelkit.planning.fit.machines import APPLE, PROCESSORS
from modelkit.planning.fit.profiles import MOST, accelerated, card, device, names, nearest, profile
from tests.conftest import Golden

ROOT = Path(__file__).parents[3]
GIB = 2**30


@pytest.mark.parametrize(("word", "name", "count", "gib", "bandwidth", "link"), [
    ("rtx4090", "RTX-4090", 1, 23.52, 1008, "none"), ("RTX 4090", "RTX-4090", 1, 23.52, 1008, "none"),
    ("4090", "RTX-4090", 1, 23.52, 1008, "none"), ("NVIDIA GeForce RTX 4090", "RTX-4090", 1, 23.52, 1008, "none"),
    ("2xh100", "H100-SXM", 2, 79.1, 3350, "nvlink"), ("h100x8", "H100-SXM", 8, 79.1, 3350, "nvlink"),
    ("8 × H100", "H100-SXM", 8, 79.1, 3350, "nvlink"), ("h100-sxm", "H100-SXM", 1, 79.1, 3350, "none"),
    ("H100-80GB", "H100-SXM", 1, 79.1, 3350, "none"), ("2x h100-pcie", "H100-PCIe", 2, 79.1, 2000, "pcie"),
    ("h100 nvl", "H100-NVL", 1, 93, 3938, "none"), ("a100", "A100-40GB-SXM", 1, 39.39, 1555, "none"),
    ("a100-80gb", "A100-80GB-SXM", 1, 79.15, 2039, "none"), ("h200x2", "H200-SXM", 2, 139.7, 4800, "nvlink"),
    ("2x3090", "RTX-3090", 2, 23.56, 936, "pcie"), ("2x3090-nvlink", "RTX-3090", 2, 23.56, 936, "nvlink"),
    ("a100x2-nvlink", "A100-40GB-SXM", 2, 39.39, 1555, "nvlink"),
    ("2x A100 80GB PCIe NVLink", "A100-80GB-PCIe", 2, 79.15, 1935, "nvlink"),
    ("a6000", "RTX-A6000", 1, 47.43, 768, "none"), ("pro6000", "RTX-PRO-6000", 1, 94.97, 1792, "none"),
    ("8xmi300x", "MI300X", 8, 191.98, 5300, "xgmi"), ("7900xtx", "RX-7900-XTX", 1, 23.98, 960, "none"),
    ("m4-max", "M4-Max", 1, 48, 546, "unified"), ("Apple M4 Max", "M4-Max", 1, 48, 546, "unified"),
    ("m4-max-36gb", "M4-Max", 1, 24, 410, "unified"), ("m3 max 30c", "M3-Max", 1, 24, 307.2, "unified"),
    ("m2-ultra+64gb", "M2-Ultra", 1, 48, 819.2, "unified"), ("dgx-spark", "GB10", 1, 119.6, 273, "none"),
])
def test_a_machine_with_gpus(*, word: str, name: str, count: int, gib: float, bandwidth: float, link: str) -> None:
    found = profile(word)
    assert found.gpu is not None and found.devices == (found.gpu,) * count and found.name == word
    assert (found.gpu.name, found.gpu.link) == (name, link)
    assert found.gpu.memory == pytest.approx(gib * GIB, rel=1e-6)
    assert found.gpu.bandwidth == pytest.approx(bandwidth * 1e9)
    assert (found.gpu.link_bandwidth is not None) == (link not in ("none", "unified"))


@pytest.mark.parametrize(("word", "cpus", "ram", "bandwidth"), [
    ("cpu:ddr5-5600x2", 8, None, 89.6), ("cpu:ddr5-5600x2+64gb+16c", 16, 64, 89.6),
    ("cpu: DDR4-3200 x8 + 256GB", 32, 256, 204.8), ("epyc-9004", 96, None, 460.8),
    ("cpu:epyc-9004", 96, None, 460.8), ("2x epyc-9004+768gib", 192, 768, 921.6), ("strix-halo+128gb", 16, 128, 256),
    ("rtx4090+64gb+ddr5-5600x2", 8, 64, 89.6), ("h100x8 + 2048gb + epyc-9004", 96, 2048, 460.8),
    ("rtx4090+64gb", 1, 64, None), ("ddr5-5600x2+1tb", 8, 1024, 89.6), ("epyc-9004+32c", 32, None, 460.8),
    ("t4+32c+epyc-9004", 32, None, 460.8), ("m4-max-128gb", 12, 128, 546),
])
def test_what_stands_beside_the_gpus(word: str, cpus: int, ram: int | None, bandwidth: float | None) -> None:
    found = profile(word)
    assert found.cpus == cpus and found.ram == (ram and ram * GIB)
    assert found.cpu_bandwidth == (bandwidth and pytest.approx(bandwidth * 1e9))
    assert (found.cpu_flops is None) == (cpus == 1)


@pytest.mark.parametrize(("word", "said"), [
    ("rtx4900", "`rtx-4090`"), ("h101", "`h100-sxm`"), ("m7-max", "`m5-max`"), ("a100-96gb", "did you mean"),
    ("4090 laptop gpu", "hardware.md"), ("toaster", "hardware.md"), ("", "no machine is named"), ("cpu", "ddr5-5600x2"),
    ("cpu:", "ddr5-5600x2"), ("m4-max-99gb", "36, 48, 64, 128 GB"), ("0xh100", "1 to 64"), ("200xh100", "1 to 64"),
    ("h100+foo", "after a `+`"), ("h100+", "after a `+`"), ("cpu:ddr5-5600x99", "after a `+`"), ("2xm4-max", "m4-max"),
    (" ", "no machine is named"), ("+64gb", "ddr5-5600x2"), ("rtx4090+64gb+1tb", "said twice"), ("t4+0gb", "nothing"),
    ("t4+16c+epyc-9004+ddr4-3200", "said twice"), ("2x2xh100", "`h100-sxm`"), ("rtx", "did you mean"),
])
def test_names_that_mean_nothing(word: str, said: str) -> None:
    with pytest.raises(Failure) as failed:
        profile(word)
    assert failed.value.code == "unknown-hardware" and said in f"{failed.value} {failed.value.hint}"


@pytest.mark.parametrize(("word", "gib", "name"), [  # as NVML and ROCm spell them, and what they say they have
    ("NVIDIA A100-SXM4-80GB", 79.2, "A100-80GB-SXM"), ("NVIDIA A100-PCIE-40GB", 39.5, "A100-40GB-PCIe"),
    ("NVIDIA A100 80GB PCIe", 79.2, "A100-80GB-PCIe"), ("NVIDIA H100 80GB HBM3", 79.6, "H100-SXM"),
    ("NVIDIA H100 PCIe", 79.6, "H100-PCIe"), ("NVIDIA H100 NVL", 93.6, "H100-NVL"),
    ("NVIDIA GH200 480GB", 95.6, "GH200"), ("Tesla V100-SXM2-32GB", 32, "V100-32GB"),
    ("Tesla V100-SXM2-16GB", 16, "V100-16GB"), ("NVIDIA GeForce RTX 3090", 24, "RTX-3090"),
    ("Quadro RTX 6000", 24, "RTX-6000"), ("Quadro_RTX_6000", 24, "RTX-6000"),
    ("NVIDIA RTX 6000 Ada Generation", 48, "RTX-6000-Ada"),
    ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", 95.6, "RTX-PRO-6000"),
    ("NVIDIA RTX PRO 6000 Blackwell Server Edition", 95.6, "RTX-PRO-6000-Server"), ("NVIDIA L40S", 45, "L40S"),
    ("NVIDIA A10G", 22.5, "A10G"), ("NVIDIA B200", 179, "B200"), ("AMD Instinct MI300X", 191.98, "MI300X"),
    ("AMD Instinct MI300X OAM", 191.98, "MI300X"), ("AMD Radeon RX 7900 XTX", 23.98, "RX-7900-XTX"),
    ("AMD Radeon PRO W7900", 44.98, "PRO-W7900"),
    ("NVIDIA GeForce RTX 4090 Laptop GPU", 16, None), ("NVIDIA GeForce RTX 4090", 47.9, None),  # modified ones
    ("NVIDIA TITAN X", 12, None), ("", 1, None),
])
def test_a_drivers_name(word: str, gib: float, name: str | None) -> None:
    found = card(word, int(gib * GIB))
    assert (found.full_name if found else None) == name


def test_the_table_is_of_a_piece() -> None:
    assert len({row.full_name for row in CARDS}) == len(CARDS)
    for row in CARDS:
        assert 0.85 * row.size * GIB < row.memory <= row.size * GIB, row
        assert not row.fp8 or 1.9 < row.fp8 / row.bf16 < 2.1, row  # the sheet's figures, unless one is a sparse one
        assert not row.bridged or row.link
        assert row.source and 100 < row.bandwidth < 10_000
    assert all(one.sizes and one.source for one in APPLE) and all(one.source for one in PROCESSORS)
    named = [(row.name, row.capability) for row in CARDS if row.capability]
    assert {(name.partition("-80GB")[0], row.capability) for name, row in ACCELERATORS.items()} <= {
        *named, ("V100-32GB", 70), ("A100-40GB", 80)}


def test_an_accelerator_whose_memory_is_not_known() -> None:
    for word in ("NVIDIA GeForce RTX 4090 Laptop GPU", "A100-96GB", "H1000", ""):
        assert accelerated(word) is None
    assert accelerated("L4", MOST + 1) is None and accelerated("L4") == profile("L4")


@pytest.mark.parametrize(("word", "clock", "bus"), [  # MHz and bits, as NVML tells them
    ("rtx4090", 10501, 384), ("l4", 6251, 192), ("h100", 2619, 5120), ("a100-80gb", 1593, 5120), ("a100", 1215, 5120),
    ("rtx5090", 14001, 512), ("rtx3090", 9751, 384), ("t4", 5001, 256), ("a10", 6251, 384),
])
def test_bandwidth_is_two_transfers_a_clock(word: str, clock: int, bus: int) -> None:
    gpu = profile(word).gpu
    assert gpu is not None and gpu.bandwidth == pytest.approx(2 * clock * 1e6 * bus / 8, rel=0.005)


@pytest.mark.parametrize(("word", "units", "clock", "rate"), [  # multiprocessors, GHz, operations of one in a clock
    ("rtx4090", 128, 2.52, 512), ("rtx3090", 82, 1.695, 512), ("rtx5090", 170, 2.407, 512), ("a100", 108, 1.41, 2048),
    ("h100", 132, 1.83, 4096), ("h100-pcie", 114, 1.62, 4096), ("pro6000", 188, 2.617, 1024), ("l40s", 142, 2.52, 1024),
])
def test_arithmetic_is_dense_and_sums_in_float32(word: str, units: int, clock: float, rate: int) -> None:
    gpu = profile(word).gpu
    assert gpu is not None and gpu.flops == pytest.approx(units * clock * 1e9 * rate, rel=0.02)


def test_every_name_of_the_page_is_a_machine() -> None:
    for name in names():
        assert profile(name).name == name
    for name in ACCELERATORS:  # of SERVE accelerator, alone and several
        found = profile(f"2x{name}")
        assert accelerated(name, 2) == found and accelerated(f"nvidia_{name}") is not None
        assert len(found.devices) == 2 and found.gpu is not None
        assert found.gpu.capability == ACCELERATORS[name].capability
    assert device(CARDS[0], 2) == profile(f"2x{CARDS[0].name}").gpu and nearest("h1oo-pcie")


@given(st.one_of(st.text(max_size=30), st.from_regex(r"\A[0-9xX+]{0,6}[a-z0-9 +:-]{0,20}\Z"),
                 st.tuples(st.integers(0, 10**6), st.sampled_from(names())).map(lambda it: f"{it[0]}x{it[1]}")))
def test_any_word_is_a_machine_or_one_failure(word: str) -> None:
    try:
        found = profile(word)
    except Failure as failure:
        assert failure.code == "unknown-hardware" and failure.hint
    else:
        assert len(found.devices) <= MOST and found.cpus >= 1


def test_the_reference_page_is_current(golden: Golden) -> None:
    golden(ROOT / "docs" / "reference" / "hardware.md", page())
