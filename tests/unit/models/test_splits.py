"""GGUF files that are far away, and models in several of them."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from modelkit import models
from modelkit.failure import Failure
from modelkit.models.formats.access import LocalFile
from modelkit.models.formats.gguf import Header
from modelkit.models.formats.gguf_reader import read_header, read_header_from
from modelkit.models.formats.splits import joined, part_names, read_split
from modelkit.models.sources.download import Remote, RemoteFile
from modelkit.models.store import Store
from tests.unit.models.gguf_files import ARCHITECTURE, TensorOf, gguf, pair, text
from tests.unit.models.servers import File, Server, serving
from tests.unit.models.small_model import pairs, tensors


@contextmanager
def far(path: Path) -> Iterator[tuple[RemoteFile, Server]]:
    """A file of any size as a server on loopback has it."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data, serving() as server:
        server.files["/far.gguf"] = File(cast(bytes, data), etag='"1"')
        with RemoteFile(Remote(f"{server.url}/far.gguf", insecure=True)) as remote:
            yield remote, server


def large(path: Path, words: int) -> Path:
    """8 GB on no disk space: a real header, then tensors that were never written."""
    vocabulary = [f"word{number}" for number in range(words)]
    said = [ARCHITECTURE, pair("tokenizer.ggml.tokens", "[string]", vocabulary),
            pair("tokenizer.ggml.scores", "[float32]", [0.5] * words),
            pair("tokenizer.ggml.merges", "[string]", [f"{word} s" for word in vocabulary])]
    head = gguf(said, tensor_count=1, key_count=len(said))
    head = head[:24] + b"".join(said) + text("blk.0.ffn_up.weight") + struct.pack("<IQQIQ", 2, 1 << 16, 1 << 15, 0, 0)
    with path.open("wb") as file:
        file.write(head)
        file.truncate(-(-len(head) // 32) * 32 + (4 << 31))
    return path


@pytest.mark.parametrize(("words", "most"), [(10, 2), (20_000, 3), (60_000, 4), (200_000, 6)])
def test_a_far_header_takes_few_requests(words: int, most: int, tmp_path: Path) -> None:
    path = large(tmp_path / "m.gguf", words)
    near = read_header(path)
    with far(path) as (remote, server):
        header = read_header_from(remote)
        assert header.path.name == "far.gguf"
        assert header.tensors == near.tensors
        assert header.size == path.stat().st_size > 8 << 30
        assert header.strings("tokenizer.ggml.tokens") == near.strings("tokenizer.ggml.tokens")
        assert header.strings("tokenizer.ggml.merges") == near.strings("tokenizer.ggml.merges")
        assert header.numbers("tokenizer.ggml.scores") == (0.5,) * words
        assert len(server.seen) <= most
        assert server.sent <= 3 * header.data_offset + (2 << 20)


def test_a_file_that_becomes_shorter_while_it_is_read(tmp_path: Path) -> None:
    near = LocalFile(large(tmp_path / "m.gguf", 60_000))
    with (tmp_path / "m.gguf").open("r+b") as file:
        file.truncate(1 << 20)
    with pytest.raises(Failure) as failed:
        read_header_from(near)
    assert failed.value.data["check"] == "changed"


NAMES = [f"m-0000{number}-of-00003.gguf" for number in (1, 2, 3)]


def part(number: int, tensors: list[TensorOf], *, count: int = 3, total: int = 3, more: Any = ()) -> bytes:
    first = [ARCHITECTURE, pair("x.y", "bool", True)] if number == 0 else []
    return gguf([*first, pair("split.no", "uint16", number), pair("split.count", "uint16", count),
                 pair("split.tensors.count", "int32", total), *more], tensors)


def tensor(name: str) -> TensorOf:
    return TensorOf(name, (4, 2), 0, bytes(range(32)))


def three(folder: Path, **other: bytes) -> Path:
    """A model in three parts, `first`, `second` or `third` made otherwise. Returns the first."""
    folder.mkdir(exist_ok=True)
    made = {"first": part(0, []), "second": part(1, [tensor("a"), tensor("b")]), "third": part(2, [tensor("c")])}
    for name, data in zip(NAMES, (made | other).values(), strict=True):
        (folder / name).write_bytes(data)
    return folder / NAMES[0]


@pytest.mark.parametrize("given", NAMES)
def test_any_part_stands_for_the_model(given: str, tmp_path: Path) -> None:
    three(tmp_path)
    model = read_split(tmp_path / given)
    assert [path.name for path in model.paths] == NAMES
    assert model.first.get("x.y", bool) is True
    assert {name: part.path.name for name, (part, _) in model.tensors.items()} == {
        "a": NAMES[1], "b": NAMES[1], "c": NAMES[2]}
    assert model.size == sum((tmp_path / name).stat().st_size for name in NAMES)
    where, what = model.tensors["b"]
    with where.path.open("rb") as file:
        file.seek(what.offset)
        assert file.read(what.size) == bytes(range(32))


def test_a_model_in_one_file_is_a_set_of_one(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(gguf([ARCHITECTURE], [tensor("a")]))
    assert len(read_split(tmp_path / "m.gguf").parts) == 1
    (tmp_path / "one.gguf").write_bytes(part(0, [tensor("a")], count=1, total=1))
    assert len(read_split(tmp_path / "one.gguf").parts) == 1


@pytest.mark.parametrize(("name", "expected"), [
    ("m.gguf", 1), (NAMES[1], 3), ("m-00004-of-00003.gguf", 1), ("m-00000-of-00003.gguf", 1),
    ("m-00001-of-99999.gguf", 1), ("m-1-of-3.gguf", 1), ("-00001-of-00002.gguf", 1), ("a-b-00002-of-00002.gguf", 2),
])
def test_names_of_parts(name: str, expected: int) -> None:
    assert len(part_names(name)) == expected
    assert name in part_names(name)


@pytest.mark.parametrize(("other", "check", "says"), [
    ({"second": part(2, [tensor("a"), tensor("b")])}, "split-number", "part 2 by its name and part 3"),
    ({"third": part(2, [tensor("c")], count=4)}, "split-count", "there are 4 parts"),
    ({"third": part(2, [tensor("b")])}, "split-tensor", f"`b` is in {NAMES[1]} too"),
    ({"third": part(2, [])}, "split-tensors-count", "have 2 tensors, not 3"),
    ({"third": part(2, [tensor("c")], more=[pair("general.architecture", "string", "gemma")])},
     "split-architecture", "`gemma`"),
])
def test_parts_that_do_not_belong_together(other: dict[str, bytes], check: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(Failure) as failed:
        read_split(three(tmp_path, **other))
    assert failed.value.code == "gguf-split"
    assert failed.value.data["check"] == check
    assert says in failed.value.message


def test_missing_parts_are_named(tmp_path: Path) -> None:
    three(tmp_path)
    (tmp_path / NAMES[0]).unlink()
    (tmp_path / NAMES[2]).unlink()
    with pytest.raises(Failure) as failed:
        read_split(tmp_path / NAMES[1])
    assert failed.value.data["missing"] == [NAMES[0], NAMES[2]]
    assert f"{NAMES[0]}, {NAMES[2]} are not beside it" in failed.value.message


@pytest.mark.parametrize("name", ["m.gguf", "m-00001-of-00002.gguf"])
def test_a_part_under_another_name(name: str, tmp_path: Path) -> None:
    path = three(tmp_path).rename(tmp_path / name)
    with pytest.raises(Failure) as failed:
        read_split(path)
    assert failed.value.data["check"] == "split-name"


def test_a_later_part_alone_says_nothing(tmp_path: Path) -> None:
    three(tmp_path)
    assert read_header(tmp_path / NAMES[1]).architecture == ""
    with pytest.raises(Failure) as failed:
        joined([read_header(tmp_path / NAMES[1])])
    assert failed.value.data["check"] == "split-count"


def small_split(folder: Path) -> list[Path]:
    """The small model in two parts."""
    every, said = tensors(), pairs()
    rows = [[pair("split.no", "uint16", number), pair("split.count", "uint16", 2),
             pair("split.tensors.count", "int32", len(every))] for number in (0, 1)]
    paths = [folder / f"s-0000{number}-of-00002.gguf" for number in (1, 2)]
    paths[0].write_bytes(gguf([*said, *rows[0]], every[:5]))
    paths[1].write_bytes(gguf(rows[1], every[5:]))
    return paths


@pytest.mark.parametrize("given", [0, 1])
def test_a_path_to_one_part_means_the_set(given: int, tmp_path: Path) -> None:
    paths, store = small_split(tmp_path), Store(tmp_path / "models")
    weights = models.acquire(str(paths[given]), tmp_path, store=store)
    assert (weights.path, weights.form) == (str(paths[0]), "gguf")
    assert weights.size == sum(path.stat().st_size for path in paths)
    assert weights == models.acquire(str(paths[given]), tmp_path, store=store)
    before = weights.digest
    paths[1].write_bytes(paths[1].read_bytes()[:-1] + b"!")
    assert models.acquire(str(paths[given]), tmp_path, store=store).digest != before
    whole: Header = read_header(weights.path)
    assert models.facts(weights).parameters > sum(one.elements for one in whole.tensors.values())
    paths[1].unlink()
    with pytest.raises(Failure, match=r"s-00002-of-00002\.gguf|there is no file"):
        models.acquire(str(paths[given]), tmp_path, store=store)
