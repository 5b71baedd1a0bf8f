"""GGUF to fewer bits: which ways there are, and what is made of a quantizer that misbehaves."""

from __future__ import annotations

import struct
import sys
import textwrap
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from modelkit import models
from modelkit.failure import Failure
from modelkit.language.quantization import PRECISIONS
from modelkit.models.convert import quantize as room
from modelkit.models.convert.quantize import locate, presume_possible, quantize, recipe, type_of
from modelkit.models.convert.tool import Tool
from modelkit.models.formats.gguf_reader import read_header
from modelkit.models.formats.imatrix import read_imatrix
from modelkit.models.store import Store
from modelkit.models.weights import Weights
from tests.unit.models.gguf_files import ARCHITECTURE, TensorOf, gguf, pair
from tests.unit.models.small_model import small_model

TOOL = Tool("quantizer", "fake 1", sys.executable)
GGUF_TYPES = [name for name, row in PRECISIONS.items() if row.form == "gguf"]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


@pytest.fixture
def source(tmp_path: Path, store: Store) -> Weights:
    return models.acquire(str(small_model(tmp_path / "m.gguf")), tmp_path, store=store)  # says that it is Q4_1


# Which ways there are


@pytest.mark.parametrize("to", GGUF_TYPES)
@pytest.mark.parametrize("source", ["F32", "F16", "BF16"])
def test_from_whole_numbers_to_anything(source: str, to: str) -> None:
    presume_possible(source, to, has_imatrix=True)


@pytest.mark.parametrize(("source", "to", "imatrix", "code"), [
    ("Q8_0", "Q4_K_M", False, None), ("Q4_1", "Q4_K_M", False, None), ("Q6_K", "Q6_K", False, None),
    ("Q4_K_M", "Q8_0", False, "quantize-up"), ("Q4_0", "F16", True, "quantize-up"),
    ("IQ4_XS", "MXFP4", False, "quantize-up"),  # as many bits, and another form: nothing is won
    ("Q2_0", "Q4_0", False, "quantize-up"),  # a type that has no row
    ("F16", "IQ2_XXS", False, "needs-importance-matrix"), ("Q8_0", "Q2_K_S", True, None),
    ("F16", "IQ3_XS", False, "needs-importance-matrix"), ("F16", "IQ3_M", False, None),
    ("F16", "w4a16", False, "quantize-type-unknown"), ("F16", "none", False, "quantize-type-unknown"),
])
def test_from_what_to_what(source: str, to: str, imatrix: bool, code: str | None) -> None:
    if code is None:
        return presume_possible(source, to, imatrix)
    with pytest.raises(Failure) as caught:
        presume_possible(source, to, imatrix)
    assert caught.value.code == code and caught.value.hint
    return None


def test_who_has_no_importance_matrix_hears_what_needs_none() -> None:
    with pytest.raises(Failure) as caught:
        presume_possible("F16", "IQ2_M")
    assert "llama-imatrix" in (caught.value.hint or "")
    without = caught.value.data["without"]
    assert "Q3_K_M" in without and not any(PRECISIONS[name].needs_imatrix for name in without)


@pytest.mark.parametrize(("pairs", "kinds", "expected"), [
    ([pair("general.file_type", "uint32", 15)], [0], "Q4_K_M"), ([], [0, 8, 8], "Q8_0"), ([], [1], "F16"),
    ([pair("general.file_type", "uint32", 1024)], [12, 12], "Q4_K_M"), ([], [41], "Q1_0"), ([], [], "F32"),
])
def test_the_type_of_a_file(tmp_path: Path, pairs: list[bytes], kinds: list[int], expected: str) -> None:
    sizes = {0: 4 * 256, 1: 512, 8: 34 * 8, 12: 144, 41: 36}
    tensors = [TensorOf(f"t{place}", (256,), kind, bytes(sizes[kind])) for place, kind in enumerate(kinds)]
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf([ARCHITECTURE, *pairs], tensors))
    assert type_of(read_header(path)) == expected


def test_a_recipe_says_all_that_counts(source: Weights, tmp_path: Path) -> None:
    said = recipe(source, "Q4_0", TOOL)
    assert said["input"] == source.digest and said["version"] == "fake 1"
    assert said["arguments"] == {"type": "Q4_0", "allow_requantize": True, "imatrix": None}
    (tmp_path / "i").write_bytes(b"x")
    assert recipe(source, "Q4_0", TOOL, tmp_path / "i")["arguments"]["imatrix"].startswith("sha256:2d711642")
    with pytest.raises(Failure, match="no file"):
        recipe(source, "Q4_0", TOOL, tmp_path / "nowhere")


# What becomes of it


def fake(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """A quantizer that does as `body` says after its dry run."""
    path = folder / "fake_child.py"
    path.write_text(textwrap.dedent("""
        import os, shutil, signal

        def end(status=0, reason=""):
            return {"status": status, "reason": reason, "bytes": 1, "fallbacks": 0}

        def write(target, data):
            with open(target, "wb") as file:
                file.write(data)

        def relabel(source, target):
            key, number = b"general.file_type\\4\\0\\0\\0", (3).to_bytes(4, "little")
            with open(source, "rb") as file:
                write(target, file.read().replace(key + number, key + (2).to_bytes(4, "little")))

        def main(request, say):
            if request["dry_run"]:
                return end()
            source, target = request["source"], request["target"]
    """) + textwrap.indent(textwrap.dedent(body), "    "))
    monkeypatch.setattr(room, "_SCRIPT", path)


GOOD = """
    say(progress=[1, 2, request["label"]])
    relabel(source, target)
    return end()
"""


def test_it_is_made_once_and_kept_under_its_recipe(source: Weights, store: Store, tmp_path: Path,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    fake(tmp_path, monkeypatch, GOOD)
    heard: list[tuple[int, int | None, str]] = []
    assert locate(source, "Q4_0", TOOL, store=store) is None
    made = quantize(source, "Q4_0", TOOL, store=store, on_progress=lambda *one: heard.append(one))
    assert (1, 2, "quantizing to Q4_0") in heard
    assert type_of(read_header(made.path)) == "Q4_0" and made.recipe == recipe(source, "Q4_0", TOOL)
    assert made.digest == store.digest(Path(made.path)) and made.reference == source.reference
    monkeypatch.setattr(room, "_SCRIPT", tmp_path / "nothing.py")
    assert quantize(source, "Q4_0", TOOL, store=store) == made == locate(source, "Q4_0", TOOL, store=store)
    assert quantize(source, "Q4_1", TOOL, store=store) == source  # it is that already
    assert locate(source, "Q4_0", Tool("quantizer", "fake 2", sys.executable), store=store) is None


VICES = {
    "crash": ("write(target, b'GGUF')\nos.kill(os.getpid(), signal.SIGSEGV)", "tool-crashed"),
    "refusal": ("write(target, b'GGUF')\nreturn end(1, 'odd')", "quantize-failed"),
    "full disk": ("return end(1, 'basic_ios::clear: iostream error')", "disk-full"),
    "imatrix": ("return end(1, 'imatrix size 3 is different')", "imatrix-unfit"),
    "half a file": ("write(target, b'GGUF')\nreturn end()", "quantize-failed"),
    "another type than was asked for": ("shutil.copyfile(source, target)\nreturn end()", "quantize-failed"),
    "no file": ("return end()", "quantize-failed"),
}


@pytest.mark.parametrize("vice", VICES)
def test_a_quantizer_with_a_vice_leaves_nothing(source: Weights, store: Store, tmp_path: Path, vice: str,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    body, code = VICES[vice]
    fake(tmp_path, monkeypatch, body)
    before = Path(source.path).read_bytes()
    with pytest.raises(Failure) as caught:
        quantize(source, "Q4_0", TOOL, store=store)
    assert caught.value.code == code
    assert Path(source.path).read_bytes() == before
    assert not list((store.root / "derived").glob("*")) and not list((store.root / "work").glob("*"))
    fake(tmp_path, monkeypatch, GOOD)
    assert quantize(source, "Q4_0", TOOL, store=store).size  # and then it converges


def test_a_source_that_changed_meanwhile(source: Weights, store: Store) -> None:
    with Path(source.path).open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\xff")
    with pytest.raises(Failure) as caught:
        quantize(source, "Q4_0", TOOL, store=store)
    assert caught.value.code == "model-changed"


def test_mxfp4_is_for_experts(source: Weights, store: Store) -> None:
    with pytest.raises(Failure, match="mixture"):
        quantize(source, "MXFP4", TOOL, store=store)


# Importance matrices


def dat(entries: dict[str, tuple[int, list[float]]]) -> bytes:
    out = struct.pack("<i", len(entries))
    for name, (calls, values) in entries.items():
        out += struct.pack("<i", len(name)) + name.encode() + struct.pack(f"<ii{len(values)}f", calls, len(values),
                                                                          *values)
    return out


def test_both_formats_say_the_same(tmp_path: Path) -> None:
    old, new = tmp_path / "old.dat", tmp_path / "new.gguf"
    old.write_bytes(dat({"a": (2, [2.0, 4.0]), "b": (0, [1.0, 2.0])}) + struct.pack("<ii", 7, 0))
    floats = {"a.in_sum2": [1.0, 2.0], "a.counts": [1.0], "b.in_sum2": [4.0, 8.0, 0.0, 0.0], "b.counts": [4.0, 0.0]}
    new.write_bytes(gguf([pair("general.type", "string", "imatrix")], [
        TensorOf(name, (len(row),), 0, struct.pack(f"<{len(row)}f", *row)) for name, row in floats.items()]))
    assert {name: list(values) for name, values in read_imatrix(old).items()} == {"a": [1, 2], "b": [1, 2]}
    assert {name: list(values) for name, values in read_imatrix(new).items()} == {"a": [1, 2], "b": [1, 2, 1, 1]}


@pytest.mark.parametrize("data", [
    b"", b"\0" * 4, b"\xff" * 64, b"<html>" * 50, struct.pack("<i", 2) + dat({"a": (1, [1.0])})[4:],
    dat({"a": (1, [float("nan")])}), dat({"a": (1, [1.0] * 9)})[:-1], struct.pack("<iii", 1, 1 << 30, 0),
    gguf([]), gguf([], [TensorOf("a.in_sum2", (4,), 0, bytes(16))]),
    gguf([], [TensorOf("a.in_sum2", (4,), 0, bytes(16)), TensorOf("a.counts", (3,), 0, bytes(12))]), b"GGUF",
], ids=lambda data: repr(bytes(data[:12])))
def test_what_is_no_importance_matrix(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "i.dat"
    path.write_bytes(data)
    with pytest.raises(Failure) as caught:
        read_imatrix(path)
    assert caught.value.code in ("imatrix-invalid", "gguf-invalid")


def test_mutations_give_failures_only(tmp_path: Path) -> None:
    good, path = bytearray(dat({f"blk.{n}.w": (n, [1.0] * 32) for n in range(4)})), tmp_path / "i.dat"
    chance = np.random.default_rng(7)
    for _ in range(300):
        bad = bytearray(good)
        for place in chance.integers(0, len(bad), 4):
            bad[place] = chance.integers(0, 256)
        path.write_bytes(bad[:chance.integers(0, len(bad) + 1)])
        with suppress(Failure):
            read_imatrix(path)
