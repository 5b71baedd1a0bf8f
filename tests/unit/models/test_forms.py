"""The way from a base to what an engine loads: which steps, which of them are made already."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modelkit.failure import Failure
from modelkit.models import forms
from modelkit.models.acquire import acquire
from modelkit.models.forms import Step, route
from modelkit.models.store import Store
from tests.unit.models.small_model import small_model

Q4, CONVERT, OPEN = Step("quantize", "Q4_K_M"), Step("convert"), Step("dequantize")


@pytest.mark.parametrize(("have", "precision", "need", "wanted", "steps"), [
    ("gguf", "Q4_1", "gguf", None, ()), ("gguf", "Q4_1", "gguf", "none", ()), ("gguf", "Q4_1", "gguf", "auto", ()),
    ("gguf", "Q4_K_M", "gguf", "Q4_K_M", ()), ("gguf", "F16", "gguf", "Q4_K_M", (Q4,)),
    ("gguf", "Q8_0", "gguf", "Q4_K_M", (Q4,)), ("gguf", "F16", "gguf", "int8", ()),
    ("safetensors", "bfloat16", "gguf", None, (CONVERT,)),
    ("safetensors", "bfloat16", "gguf", "F16", (Step("convert", "F16"),)),
    ("safetensors", "bfloat16", "gguf", "Q4_K_M", (CONVERT, Q4)),
    ("gguf", "Q4_1", "safetensors", None, (OPEN,)), ("gguf", "Q4_1", "safetensors", "BF16", (OPEN,)),
    ("gguf", "Q4_1", "safetensors", "nvfp4", (OPEN,)),
    ("gguf", "Q4_1", "safetensors", "int8", (OPEN, Step("compress", "int8"))),
    ("gguf", "Q4_K_M", "safetensors", "Q4_K_M", (OPEN,)), ("gguf", "F16", "safetensors", "Q4_K_M", (Q4, OPEN)),
    ("safetensors", "bfloat16", "safetensors", None, ()),
    ("safetensors", "bfloat16", "safetensors", "fp8", (Step("compress", "fp8"),)),
    ("safetensors", "bfloat16", "safetensors", "w4a16", (Step("compress", "w4a16"),)),
    ("safetensors", "awq", "safetensors", "awq", ()),
    ("safetensors", "bfloat16", "safetensors", "Q4_K_M", (CONVERT, Q4, OPEN)),
])
def test_the_way(have: Any, precision: str, need: Any, wanted: str | None, steps: tuple[Step, ...]) -> None:
    assert route(have, precision, need, wanted) == steps


@pytest.mark.parametrize(("have", "precision", "need", "wanted", "code"), [
    ("gguf", "Q4_1", "gguf", "Q8_0", "quantize-up"), ("gguf", "Q4_1", "safetensors", "Q8_0", "quantize-up"),
    ("gguf", "F16", "gguf", "IQ2_M", "needs-importance-matrix"),
    ("safetensors", "bfloat16", "gguf", "IQ1_S", "needs-importance-matrix"),
])
def test_no_way(have: Any, precision: str, need: Any, wanted: str, code: str) -> None:
    with pytest.raises(Failure) as failed:
        route(have, precision, need, wanted)
    assert failed.value.code == code
    if code == "needs-importance-matrix":
        assert route(have, precision, need, wanted, imatrix="m.imatrix")[-1] == Step("quantize", wanted, "m.imatrix")


def test_what_is_made_is_found_and_what_is_missing_is_named(tmp_path: Path) -> None:
    store = Store(tmp_path / "models")
    base = acquire(str(small_model(tmp_path / "m.gguf")), store=store)
    assert forms.precision(base) == "Q4_1"
    assert forms.reach(base, (OPEN,), {}, store) == (base, (OPEN,))
    assert forms.trail(base, (OPEN,), {}, store) == [None]
    made = forms.make(base, (OPEN,), {}, store)
    assert made.form == "safetensors" and forms.reach(base, (OPEN,), {}, store) == (made, ())
    assert forms.trail(base, (OPEN,), {}, store) == [made]
    assert forms.reach(base, (Q4, OPEN), {}, store) == (base, (Q4, OPEN))
    with pytest.raises(Failure, match="the quantizer is not installed") as failed:
        forms.make(base, (Q4, OPEN), {}, store)
    assert failed.value.hint == "modelkit tool install quantizer"
