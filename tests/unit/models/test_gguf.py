"""GGUF headers: what is read, and that nothing in a file can do more than be refused."""

from __future__ import annotations

import random
import struct
import tracemalloc
from pathlib import Path

import pytest

from modelkit.failure import Failure
from modelkit.models.formats.gguf import Array
from modelkit.models.formats.gguf_reader import read_header
from modelkit.models.formats.gguf_types import TENSOR_TYPES
from tests.unit.models.fuzzing import Stopwatch, Timed, main
from tests.unit.models.gguf_files import ARCHITECTURE, TensorOf, gguf, pair, text, value_of

F32, Q4_0 = 0, 2
ONE = TensorOf("one", (4, 2), F32, bytes(32))
TWO = TensorOf("two", (32,), Q4_0, bytes(18))
PLAIN = [ARCHITECTURE, pair("llama.context_length", "uint32", 64), pair("x.f", "float32", 0.5),
         pair("x.b", "bool", True), pair("x.s", "string", "ümlaut"), pair("x.n", "[int32]", [1, -2, 3]),
         pair("x.t", "[string]", ["a", "", "½"]), pair("x.e", "[float64]", [])]


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_everything_that_a_header_says(tmp_path: Path) -> None:
    header = read_header(written(tmp_path / "m.gguf", gguf(PLAIN, [ONE, TWO])))
    assert (header.version, header.architecture, header.alignment) == (3, "llama", 32)
    assert header.get("llama.context_length", int) == 64
    assert header.get("x.f", float) == 0.5
    assert header.get("x.b", bool) is True
    assert header.get("x.s", str) == "ümlaut"
    assert header.get("x.absent", str, "else") == "else"
    assert isinstance(header.metadata["x.t"], Array)
    assert header.numbers("x.n") == (1, -2, 3)
    assert header.numbers("x.e") == ()
    assert header.strings("x.t") == ["a", "", "½"]
    one, two = header.tensors["one"], header.tensors["two"]
    assert (one.shape, one.type.name, one.offset, one.size, one.elements) == ((4, 2), "F32", header.data_offset, 32, 8)
    assert (two.type.name, two.offset, two.size) == ("Q4_0", header.data_offset + 32, 18)


@pytest.mark.parametrize(("key", "kind"), [("x.s", int), ("llama.context_length", str), ("x.b", int), ("x.n", str)])
def test_a_value_of_another_type_is_refused(key: str, kind: type, tmp_path: Path) -> None:
    header = read_header(written(tmp_path / "m.gguf", gguf(PLAIN)))
    with pytest.raises(Failure, match="is not"):
        header.get(key, kind)


def test_other_alignments_and_an_empty_model(tmp_path: Path) -> None:
    pairs = [ARCHITECTURE, pair("general.alignment", "uint32", 256)]
    header = read_header(written(tmp_path / "m.gguf", gguf(pairs, [ONE, TWO], alignment=256)))
    assert header.data_offset % 256 == 0
    assert header.tensors["two"].offset == header.data_offset + 256
    assert read_header(written(tmp_path / "n.gguf", gguf([ARCHITECTURE], version=2))).tensors == {}


def test_the_layouts_are_those_of_the_gguf_package() -> None:
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    known = {kind.value: (kind.name, *sizes) for kind, sizes in GGML_QUANT_SIZES.items()}
    ours = {number: (one.name, one.block, one.bytes) for number, one in TENSOR_TYPES.items()}
    newer = {"Q1_0", "Q2_0", "NVFP4"} - {kind.name for kind in GGMLQuantizationType}
    assert {number: row for number, row in ours.items() if row[0] not in newer} == {
        number: row for number, row in known.items() if row[0] not in ("Q8_1", "Q8_K")}


LONG = 1 << 61
HOSTILE: dict[str, tuple[str, bytes]] = {
    # what is wrong: (the check that must say so, the file)
    "empty": ("magic", b""),
    "no magic": ("magic", b"GGU"),
    "html": ("magic", b"<!doctype html>" + bytes(100)),
    "git lfs": ("magic", b"version https://git-lfs.github.com/spec/v1\n"),
    "safetensors": ("magic", struct.pack("<Q", 90) + b'{"a":1}' + bytes(90)),
    "zip": ("magic", b"PK\x03\x04" + bytes(60)),
    "only a magic": ("truncated", b"GGUF"),
    "version 1": ("version", gguf(PLAIN, version=1)),
    "version 9": ("version", gguf(PLAIN, version=9)),
    "big-endian": ("byte-order", b"GGUF" + struct.pack(">IQQ", 3, 0, 0)),
    "tensor count": ("tensor-count", gguf(PLAIN, tensor_count=LONG)),
    "key count": ("key-count", gguf(PLAIN, key_count=LONG)),
    "more keys than there are": ("truncated", gguf([ARCHITECTURE], key_count=3)[:60]),
    "key length": ("string-length", gguf([text("k", LONG)])),
    "key not utf-8": ("utf-8", gguf([pair(b"\xff\xfe", "bool", True)])),
    "key twice": ("key", gguf([ARCHITECTURE, ARCHITECTURE])),
    "empty key": ("key", gguf([pair("", "bool", True)])),
    "string length": ("string-length", gguf([text("k") + struct.pack("<I", 8) + text("v", LONG)])),
    "string beyond the end": ("truncated", gguf([text("k") + struct.pack("<I", 8) + text("v", 4000)])),
    "string not utf-8": ("utf-8", gguf([text("k") + struct.pack("<I", 8) + text(b"\xc3\x28")])),
    "value type": ("value-type", gguf([text("k") + struct.pack("<I", 77)])),
    "array of an unknown type": ("value-type", gguf([text("k") + struct.pack("<IIQ", 9, 55, 1)])),
    "array length": ("array-length", gguf([text("k") + struct.pack("<IIQ", 9, 4, LONG)])),
    "array of strings, length": ("array-length", gguf([text("k") + struct.pack("<IIQ", 9, 8, LONG)])),
    "array of strings, one too long": ("string-length", gguf(
        [text("k") + struct.pack("<IIQ", 9, 8, 2) + text("v", LONG) + bytes(40)])),
    "array of strings, beyond the end": ("string-length", gguf(
        [text("k") + struct.pack("<IIQ", 9, 8, 1) + text("v", 5000)])),
    "nested arrays": ("array-nesting", gguf([text("k") + struct.pack("<IIQ", 9, 9, 1) + value_of("[int8]", [1])])),
    "no architecture": ("architecture", gguf([pair("a", "bool", True)])),
    "architecture is a number": ("architecture", gguf([pair("general.architecture", "uint32", 1)])),
    "architecture is a path": ("architecture", gguf([pair("general.architecture", "string", "../x")])),
    "alignment 0": ("alignment", gguf([ARCHITECTURE, pair("general.alignment", "uint32", 0)])),
    "alignment 48": ("alignment", gguf([ARCHITECTURE, pair("general.alignment", "uint32", 48)])),
    "alignment 2^31": ("alignment", gguf([ARCHITECTURE, pair("general.alignment", "uint32", 1 << 31)])),
    "alignment is text": ("alignment", gguf([ARCHITECTURE, pair("general.alignment", "string", "32")])),
    "no dimensions": ("dimensions", gguf(PLAIN, [TensorOf("t", (), F32, b"")])),
    "five dimensions": ("dimensions", gguf(PLAIN, [TensorOf("t", (1, 1, 1, 1, 1), F32, bytes(4))])),
    "a dimension of 0": ("shape", gguf(PLAIN, [TensorOf("t", (0, 4), F32, b"")])),
    "a shape that overflows": ("shape", gguf(PLAIN, [TensorOf("t", (1 << 32, 1 << 32, 16), F32, bytes(4))])),
    "a shape beyond the file": ("truncated", gguf(PLAIN, [TensorOf("t", (1 << 40,), F32, bytes(4))])),
    "half a block": ("shape", gguf(PLAIN, [TensorOf("t", (48,), Q4_0, bytes(36))])),
    "tensor type": ("tensor-type", gguf(PLAIN, [TensorOf("t", (4,), 4, bytes(16))])),
    "offset not aligned": ("tensor-offset", gguf(PLAIN, [TensorOf("t", (4,), F32, bytes(16), offset=4)])),
    "offset beyond the file": ("truncated", gguf(PLAIN, [TensorOf("t", (4,), F32, bytes(16), offset=1 << 63)])),
    "overlap": ("overlap", gguf(PLAIN, [ONE, TensorOf("t", (4,), F32, bytes(16), offset=0)])),
    "two of a name": ("tensor-name", gguf(PLAIN, [ONE, ONE])),
    "a nameless tensor": ("tensor-name", gguf(PLAIN, [TensorOf("", (4,), F32, bytes(16))])),
    "truncated data": ("truncated", gguf(PLAIN, [ONE])[:-1]),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_is_refused(case: str, tmp_path: Path) -> None:
    check, data = HOSTILE[case]
    path = written(tmp_path / "m.gguf", data)
    tracemalloc.start()
    try:
        with pytest.raises(Failure) as failed:
            read_header(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert failed.value.code == "gguf-invalid"
    assert failed.value.data["check"] == check
    assert f"at byte {failed.value.data['offset']}" in failed.value.message
    assert peak < 8 << 20


def test_too_much_text_is_refused_before_it_is_kept(tmp_path: Path) -> None:
    """Strings of 60 MiB in a sparse file: the second is one too many."""
    path = tmp_path / "m.gguf"
    with path.open("wb") as file:
        file.write(b"GGUF" + struct.pack("<IQQ", 3, 0, 3))
        for key in "abc":
            file.write(text(key) + struct.pack("<IQ", 8, 60 << 20))
            file.seek(60 << 20, 1)
        file.write(b"\0")
    with pytest.raises(Failure, match="more than 64 MiB of text"):
        read_header(path)


def test_a_truncated_file_says_how_much_is_missing(tmp_path: Path) -> None:
    whole = gguf(PLAIN, [ONE, TWO])
    last = len(whole) - 14  # the end of the last tensor; padding follows
    with pytest.raises(Failure, match=rf"the file ends after 400 of {last} bytes"):
        read_header(written(tmp_path / "m.gguf", whole[:400]))
    with pytest.raises(Failure, match=r"the file ends inside its header, after 100 bytes"):
        read_header(written(tmp_path / "n.gguf", whole[:100]))


def test_cut_anywhere(tmp_path: Path) -> None:
    whole, path = gguf(PLAIN, [ONE, TWO]), tmp_path / "m.gguf"
    for length in range(len(whole) - 14):
        with pytest.raises(Failure) as failed:
            read_header(written(path, whole[:length]))
        assert failed.value.data["check"] in ("truncated", "magic", "string-length", "array-length")


@pytest.mark.parametrize(("make", "code"), [
    (lambda path: None, "model-missing"), (lambda path: path.mkdir(), "model-unreadable"),
])
def test_no_file(make: object, code: str, tmp_path: Path) -> None:
    make(tmp_path / "m.gguf")  # type: ignore[operator]
    with pytest.raises(Failure) as failed:
        read_header(tmp_path / "m.gguf")
    assert failed.value.code == code


def fuzz(count: int, seed: int, path: Path, timed: Timed) -> int:
    """Read `count` mutations of a good file and return how many were refused; anything but a Failure is a bug."""
    good, source, refused = gguf(PLAIN, [ONE, TWO]), random.Random(seed), 0
    lies = (0, 1, 0xFF, 1 << 31, 1 << 32, 1 << 61, (1 << 64) - 1)
    for _ in range(count):
        data = bytearray(good)
        for _ in range(source.randint(1, 4)):
            at = source.randrange(len(data))
            match source.randrange(4):
                case 0:
                    data[at] = source.randrange(256)
                case 1:
                    data[at:at + 8] = struct.pack("<Q", source.choice(lies))
                case 2:
                    del data[at:at + source.randint(1, 16)]
                case 3:
                    data[at:at] = source.randbytes(source.randint(1, 16))
        path.write_bytes(data)
        try:
            timed(lambda: _read_all(path))
        except Failure:
            refused += 1
    return refused


def _read_all(path: Path) -> None:
    header = read_header(path)
    for key, value in header.metadata.items():
        if isinstance(value, Array):
            header.strings(key) if value.kind == "string" else header.numbers(key)


def test_mutations_only_ever_fail(tmp_path: Path) -> None:
    assert fuzz(400, 3, tmp_path / "m.gguf", Stopwatch()) > 200


if __name__ == "__main__":
    main(fuzz, "m.gguf")
