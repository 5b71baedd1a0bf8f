"""safetensors headers: what is read, and that nothing in a file can do more than be refused."""

from __future__ import annotations

import json
import random
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from modelkit.failure import Failure
from modelkit.models.formats.checkpoint import read_checkpoint
from modelkit.models.formats.safetensors_reader import BITS, read_header
from modelkit.models.formats.safetensors_writer import SafetensorsWriter
from tests.unit.models.fuzzing import Stopwatch, Timed, main


def raw(header: bytes | str, data: bytes = b"", length: int | None = None) -> bytes:
    text = header.encode() if isinstance(header, str) else header
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(dtype: str = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def safetensors(tensors: dict[str, Any], data: bytes = b"", **metadata: str) -> bytes:
    return raw(json.dumps(({"__metadata__": metadata} if metadata else {}) | tensors), data)


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


PLAIN = {"a.weight": entry("BF16", (2, 3), (0, 12)), "ü": entry("F32", (), (12, 16)),
         "none": entry("I64", (0, 4), (16, 16)), "f4": entry("F4", (4,), (16, 18))}
GOOD = safetensors(PLAIN, bytes(18), format="pt", note="½ \" \\")


def test_everything_that_a_header_says(tmp_path: Path) -> None:
    header = read_header(written(tmp_path / "m.safetensors", GOOD))
    begin = header.header_bytes
    assert header.metadata == {"format": "pt", "note": "½ \" \\"}
    assert {name: (one.dtype, one.shape, one.begin - begin, one.end - begin) for name, one in header.tensors.items()} \
        == {name: (one["dtype"], tuple(one["shape"]), *one["data_offsets"]) for name, one in PLAIN.items()}
    assert (begin, header.size) == (len(GOOD) - 18, len(GOOD))


@pytest.mark.parametrize("text", [
    "{}", "{ }  ", '{"__metadata__":{}}',
    ' {"a":{"data_offsets":[0,8],"shape":[2],"dtype":"F32"}}'.strip(),
    '{\n "a" : { "dtype" : "F32" ,\t"shape" : [ 2 , 1 ] , "data_offsets" : [0, 8] }\r\n}   ',
    '{"a\\u00fc\\n":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'.replace("\\n", ""),
])
def test_other_spellings(text: str, tmp_path: Path) -> None:
    said = json.loads(text)
    said.pop("__metadata__", None)
    header = read_header(written(tmp_path / "m.safetensors", raw(text, bytes(8 if said else 0))))
    assert list(header.tensors) == list(said)


def test_every_type_that_the_library_knows(tmp_path: Path) -> None:
    for dtype, bits in BITS.items():
        data = safetensors({"a": entry(dtype, (8, 1), (0, bits))}, bytes(bits))
        assert read_header(written(tmp_path / "m", data)).tensors["a"].dtype == dtype


def test_what_our_writer_writes(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    with SafetensorsWriter(path, {"a": ("BF16", (2, 3)), "b": ("F32", (1,))}) as out:
        out.write(bytes(16))
    header = read_header(path)
    assert header.tensors["b"].end == header.size == path.stat().st_size
    assert header.header_bytes % 8 == 0


ONE = json.dumps(entry())
FIELDS = '"dtype":"F32","shape":[2],"data_offsets":[0,8]'
HOSTILE: dict[str, tuple[str, bytes]] = {
    # what is wrong: (the check that must say so, the file)
    "empty": ("truncated", b""),
    "seven bytes": ("truncated", b"\2\0\0\0\0\0\0"),
    "only a length": ("first-byte", struct.pack("<Q", 2)),
    "gguf": ("first-byte", b"GGUF" + bytes(40)),
    "html": ("first-byte", b"<!doctype html>" + bytes(100)),
    "git lfs": ("first-byte", b"version https://git-lfs.github.com/spec/v1\n"),
    "zip": ("first-byte", b"PK\3\4" + bytes(60)),
    "pickle": ("first-byte", b"\x80\x04\x95" + bytes(60)),
    "a list": ("first-byte", raw("[]")),
    "a space first": ("first-byte", raw(" {}")),
    "header over 100 MB": ("header-length", raw("{}", length=100_000_001)),
    "header over the end": ("header-length", raw("{}", length=3)),
    "header of 2^63": ("header-length", raw("{}", length=1 << 63)),
    "header cut short": ("json", raw('{"a":', length=5)),
    "no closing brace": ("json", raw('{"a":' + ONE, bytes(8))),
    "text after it": ("json", raw('{"a":' + ONE + "}x", bytes(8))),
    "a comma too many": ("json", raw('{"a":' + ONE + ",}", bytes(8))),
    "not utf-8": ("utf-8", raw(b'{"\xc3\x28":' + ONE.encode() + b"}", bytes(8))),
    "a wrong escape": ("json", raw(r'{"\u00zz":' + ONE + "}", bytes(8))),
    "half a surrogate": ("json", raw(r'{"\ud800":' + ONE + "}", bytes(8))),
    "a NUL in a name": ("json", raw('{"\0":' + ONE + "}", bytes(8))),
    "a newline in a name": ("name", raw(r'{"a\n":' + ONE + "}", bytes(8))),
    "an empty name": ("name", raw('{"":' + ONE + "}", bytes(8))),
    "a long name": ("name", raw('{"' + "n" * 1025 + '":' + ONE + "}", bytes(8))),
    "deep nesting": ("json", raw('{"a":' + "[" * 100_000)),
    "deep objects": ("field", raw('{"a":{"shape":[2],' + '"b":{' * 1000)),
    "a tensor is a list": ("json", raw('{"a":[]}')),
    "a name twice": ("duplicate", raw('{"a":' + ONE + ',"a":' + ONE + "}", bytes(8))),
    "a name twice, spelled otherwise": ("duplicate", raw('{"a":' + ONE + r',"\u0061":' + ONE + "}", bytes(8))),
    "a field twice": ("duplicate", raw('{"a":{"dtype":"U8",' + FIELDS + "}}", bytes(8))),
    "metadata twice": ("duplicate", raw('{"__metadata__":{},"__metadata__":{}}')),
    "a key of the metadata twice": ("duplicate", raw('{"__metadata__":{"a":"","a":""}}')),
    "metadata of numbers": ("json", raw('{"__metadata__":{"a":1}}')),
    "metadata is a tensor": ("json", raw('{"__metadata__":' + ONE + "}", bytes(8))),
    "no type": ("field", raw('{"a":{"shape":[2],"data_offsets":[0,8]}}', bytes(8))),
    "no shape": ("field", raw('{"a":{"dtype":"F32","data_offsets":[0,8]}}', bytes(8))),
    "no offsets": ("field", raw('{"a":{"dtype":"F32","shape":[2]}}', bytes(8))),
    "another field": ("field", raw('{"a":{"x":1,' + FIELDS + "}}", bytes(8))),
    "an unknown type": ("dtype", safetensors({"a": entry("F33")}, bytes(8))),
    "a type in lower case": ("dtype", safetensors({"a": entry("f32")}, bytes(8))),
    "a negative dimension": ("json", safetensors({"a": entry(shape=(-2,))}, bytes(8))),
    "a fraction": ("json", safetensors({"a": entry(shape=(2.0,))}, bytes(8))),
    "true": ("json", safetensors({"a": entry(shape=(True,))}, bytes(8))),
    "a long number": ("json", raw('{"a":{"dtype":"F32","shape":[' + "9" * 5000 + '],"data_offsets":[0,8]}}', bytes(8))),
    "a shape that overflows": ("shape", safetensors({"a": entry(shape=(1 << 60, 1 << 60))}, bytes(8))),
    "too many dimensions": ("shape", safetensors({"a": entry(shape=(1,) * 17)}, bytes(8))),
    "offsets backwards": ("offsets", safetensors({"a": entry(offsets=(8, 0))}, bytes(8))),
    "three offsets": ("offsets", safetensors({"a": entry(offsets=(0, 8, 8))}, bytes(8))),
    "another span": ("span", safetensors({"a": entry(shape=(3,))}, bytes(8))),
    "half a byte": ("span", safetensors({"a": entry("F4", (3,), (0, 1))}, bytes(1))),
    "a hole": ("hole", safetensors({"a": entry(), "b": entry(offsets=(9, 17))}, bytes(17))),
    "a hole first": ("hole", safetensors({"a": entry(offsets=(1, 9))}, bytes(9))),
    "an overlap": ("overlap", safetensors({"a": entry(), "b": entry(offsets=(4, 12))}, bytes(12))),
    "the same bytes": ("overlap", safetensors({"a": entry(), "b": entry()}, bytes(8))),
    "cut data": ("truncated", safetensors({"a": entry()}, bytes(7))),
    "more data": ("trailing", safetensors({"a": entry()}, bytes(9))),
    "data and no tensor": ("trailing", raw("{}", bytes(1))),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_is_refused(case: str, tmp_path: Path) -> None:
    check, data = HOSTILE[case]
    path = written(tmp_path / "m.safetensors", data)
    tracemalloc.start()
    try:
        with pytest.raises(Failure) as failed:
            read_header(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert failed.value.code == "safetensors-invalid"
    assert failed.value.data["check"] == check
    assert f"at byte {failed.value.data['offset']}" in failed.value.message
    assert peak < 8 << 20


def test_cut_anywhere(tmp_path: Path) -> None:
    for length in range(len(GOOD)):
        with pytest.raises(Failure) as failed:
            read_header(written(tmp_path / "m.safetensors", GOOD[:length]))
        assert failed.value.data["check"] in ("truncated", "first-byte", "header-length")


@pytest.mark.parametrize(("make", "code"), [
    (lambda path: None, "model-missing"), (lambda path: path.mkdir(), "model-unreadable"),
])
def test_no_file(make: Any, code: str, tmp_path: Path) -> None:
    make(tmp_path / "m.safetensors")
    with pytest.raises(Failure) as failed:
        read_header(tmp_path / "m.safetensors")
    assert failed.value.code == code


def shards(folder: Path, index: Any = None, **files: dict[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, tensors in files.items():
        (folder / f"{name}.safetensors").write_bytes(
            safetensors({tensor: entry(offsets=(8 * n, 8 * n + 8)) for n, tensor in enumerate(tensors)},
                        bytes(8 * len(tensors))))
    if index is not None:
        text = index if isinstance(index, str) else json.dumps({"metadata": {}, "weight_map": index})
        (folder / "model.safetensors.index.json").write_text(text)
    return folder


ONE_EACH: dict[str, dict[str, Any]] = {"one": {"a": 1, "b": 1}, "two": {"c": 1}}
MAP = {"a": "one.safetensors", "b": "one.safetensors", "c": "two.safetensors"}


def test_a_checkpoint_in_shards(tmp_path: Path) -> None:
    found = read_checkpoint(shards(tmp_path, MAP, **ONE_EACH, left={"z": 1}))
    assert {name: file for name, (file, _) in found.tensors.items()} == MAP
    assert found.tensors["b"][1].elements == 2
    assert sorted(found.files) == ["one.safetensors", "two.safetensors"]


def test_a_checkpoint_without_an_index(tmp_path: Path) -> None:
    assert set(read_checkpoint(shards(tmp_path, **ONE_EACH)).tensors) == {"a", "b", "c"}
    (tmp_path / "one.safetensors").rename(tmp_path / "model.safetensors")
    assert set(read_checkpoint(tmp_path).tensors) == {"a", "b"}


@pytest.mark.parametrize(("index", "check", "says"), [
    (MAP | {"d": "three.safetensors"}, "shard-missing", "three.safetensors"),
    (MAP | {"d": "two.safetensors"}, "tensor-missing", "`d`"),
    ({"a": "one.safetensors", "c": "two.safetensors"}, "tensor-unlisted", "`b`"),
    (MAP | {"b": "two.safetensors"}, "tensor-missing", "`b`"),
    (MAP | {"d": "../two.safetensors"}, "path", "../two.safetensors"),
    (MAP | {"d": "/etc/passwd"}, "path", "/etc/passwd"),
    (MAP | {"d": "two.bin"}, "path", "two.bin"),
    (MAP | {"d": 3}, "index", "weight_map"),
    ({}, "index", "weight_map"),
    ('{"weight_map": {"a": "one.safetensors", "a": "two.safetensors"}}', "json", "twice"),
    ("[" * 100_000, "json", "nested"),
    ("nonsense", "json", "not JSON"),
    ("[]", "index", "weight_map"),
])
def test_an_index_that_lies(index: Any, check: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(Failure) as failed:
        read_checkpoint(shards(tmp_path / "m", index, **ONE_EACH))
    assert failed.value.data["check"] == check
    assert says in failed.value.message


def test_checkpoints_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="no safetensors"):
        read_checkpoint(tmp_path)
    with pytest.raises(Failure, match=r"`b` is in one\.safetensors and in two\.safetensors"):
        read_checkpoint(shards(tmp_path / "m", one={"a": 1, "b": 1}, two={"b": 1}))


def fuzz(count: int, seed: int, path: Path, timed: Timed) -> int:
    """Read `count` mutations of a good file and return how many were refused; anything but a Failure is a bug."""
    source, refused = random.Random(seed), 0
    lies = (0, 1, 0xFF, 1 << 31, 1 << 32, 1 << 61, (1 << 64) - 1)
    texts = (b"{", b"}", b"[", b"]", b'"', b",", b":", b"\\", b"0", b"-1", b"1e9", b"null", b"9" * 30,
             b'"shape":', b"\0")
    for _ in range(count):
        data = bytearray(GOOD)
        for _ in range(source.randint(1, 4)):
            at = source.randrange(len(data))
            match source.randrange(5):
                case 0:
                    data[at] = source.randrange(256)
                case 1:
                    data[at:at + 8] = struct.pack("<Q", source.choice(lies))
                case 2:
                    del data[at:at + source.randint(1, 16)]
                case 3:
                    data[at:at] = source.randbytes(source.randint(1, 16))
                case 4:
                    data[at:at] = source.choice(texts) * source.choice((1, 1, 1, 40))
        if source.random() < 0.7:  # a length that fits, or nothing behind it is ever looked at
            data[:8] = struct.pack("<Q", max(len(data) - 26, 0))
        path.write_bytes(data)
        try:
            timed(lambda: _read(path))
        except Failure:
            refused += 1
    return refused


def _read(path: Path) -> None:
    read_header(path)


def test_mutations_only_ever_fail(tmp_path: Path) -> None:
    assert fuzz(400, 3, tmp_path / "m.safetensors", Stopwatch()) > 200


if __name__ == "__main__":
    main(fuzz, "m.safetensors")
