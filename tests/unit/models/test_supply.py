"""What comes with models and must not: found by what it holds, whatever it is called, and nothing else is."""

from __future__ import annotations

import bz2
import collections
import gzip
import io
import json
import lzma
import os
import pickle
import random
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelkit import models
from modelkit.failure import Failure
from modelkit.models import supply
from modelkit.models.artifact import Artifact, Form, Piece
from modelkit.models.formats.access import LocalFile
from modelkit.models.formats.content import danger_in
from modelkit.models.store import Store
from tests.unit.models.gguf_files import ARCHITECTURE, gguf
from tests.unit.models.small_model import small_model
from tests.unit.models.test_safetensors import entry, safetensors

GGUF = gguf([ARCHITECTURE])
TENSORS = safetensors({"a": entry()}, bytes(8))


class Runs:
    """What a hostile pickle does."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("true",)


def of_numpy(value: Any, version: int = 1) -> bytes:
    header = repr({"descr": value, "fortran_order": False, "shape": (1,)}).encode() + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(header)) + header


def of_zip(*names: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return out.getvalue()


def of_tar(form: int) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        archive.addfile(tarfile.TarInfo("a.txt"), io.BytesIO(b""))
    return out.getvalue()


def old_tar() -> bytes:
    block = bytearray(of_tar(tarfile.USTAR_FORMAT))
    block[257:265] = bytes(8)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block[:512])
    return bytes(block)


DANGEROUS: dict[str, tuple[str, bytes]] = {
    # what it is: (the rule that refuses it, the file)
    **{f"pickle {protocol}": ("pickle", pickle.dumps(Runs(), protocol)) for protocol in range(6)},
    **{f"pickle {protocol}, a call after 200 KB": ("pickle", pickle.dumps(["z" * 200_000, Runs()], protocol))
       for protocol in range(6)},
    **{f"state dict {protocol}": ("pickle", pickle.dumps(collections.OrderedDict(a=[1.0, 2.0]), protocol))
       for protocol in range(6)},
    **{f"plain values {protocol}": ("pickle", pickle.dumps({"a": [1, 2.0, "x"]}, protocol))
       for protocol in (2, 3, 4, 5)},
    "a pickle that is cut": ("pickle", pickle.dumps({"a": list(range(3000))}, 4)[:5000]),
    "a call, then rubbish": ("pickle", pickle.dumps(Runs(), 2)[:-1] + b"\xff" * 50),
    "an old torch file": ("pickle", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03."),
    "after numbers": ("pickle", b"I 0x1\n0L-5L\n0F 1e5\n0I01\n0cos\nsystem\n(S'true'\ntR."),
    "after a mark that is taken back": ("pickle", b"(0cos\nsystem\n(S'true'\ntR."),
    "after marks": ("pickle", b"((1cos\nsystem\n(V" + b"x" * 70_000 + b"\ntR."),
    "INST": ("pickle", b"(S'true'\nios\nsystem\n."),
    "without the announcement": ("pickle", b"\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R."),
    "a torch file": ("pickle", of_zip("archive/data.pkl", "archive/version")),
    "an empty zip": ("archive", of_zip()),
    "7z": ("archive", b"7z\xbc\xaf\x27\x1c\0\4" + bytes(40)),
    "rar": ("archive", b"Rar!\x1a\x07\1\0" + bytes(40)),
    "gzip": ("archive", gzip.compress(b"x" * 50)), "bzip2": ("archive", bz2.compress(b"x" * 50)),
    "xz": ("archive", lzma.compress(b"x" * 50)), "zlib": ("archive", zlib.compress(pickle.dumps([0] * 9000))),
    "zstd": ("archive", b"\x28\xb5\x2f\xfd" + bytes(20)),
    "tar": ("archive", of_tar(tarfile.USTAR_FORMAT)), "gnu tar": ("archive", of_tar(tarfile.GNU_FORMAT)),
    "pax tar": ("archive", of_tar(tarfile.PAX_FORMAT)), "old tar": ("archive", old_tar()),
    "hdf5": ("pickle", b"\x89HDF\r\n\x1a\n" + bytes(40)), "hdf5 later": ("pickle", bytes(512) + b"\x89HDF\r\n\x1a\n"),
    "numpy objects": ("pickle", of_numpy("|O")), "numpy records": ("pickle", of_numpy([("a", "|O")])),
    "numpy 2": ("pickle", of_numpy("O", 2)),
    "elf": ("code", b"\x7fELF\2\1\1" + bytes(60)), "pe": ("code", b"MZ" + bytes(58) + b"\x40\0\0\0PE\0\0"),
    "mach-o": ("code", b"\xcf\xfa\xed\xfe" + bytes(40)), "wasm": ("code", b"\0asm\1\0\0\0"),
    "a script": ("code", b"#!/bin/sh\ntrue\n"), "a script after a space": ("code", b"#! /usr/bin/env python\n"),
    "bytecode": ("code", b"\xa7\r\r\n\0\0\0\0" + bytes(8) + b"\xe3"),
}
HARMLESS = {
    "README.md": b"# A model\n\nIt answers.\n", "LICENSE": b"Copyright (c) 2024\nAll rights reserved\n(R)\n",
    "NOTICE": b"", "vocab.txt": b"cat\ndog\nthe\n.\n", "merges.txt": b"#version: 0.2\n\xc4\xa0 t\n",
    "list.txt": b"cos\nsystem\nthe\nword\n", "dots": b"......\n", "INSTALL": b"I.\n", "N": b"N.", "Notes": b"N)R.\n",
    "zeros": b"0" * 50_000, "brackets": b"(" * 9_000 + b"x", "MZ.txt": b"MZ is a name of a place and nothing else" * 9,
    "BZh.txt": b"BZh9 is no archive", "x.txt": b"x\x9c no zlib", "numbers.npy": of_numpy("<f4"),
    "b.npy": of_numpy("|b1"),
    "tokenizer.model": b"\n\x0e\n\x05<unk>\x15\0\0\0\0\x18\2\n\x0c\n\3<s>\x15\0\0\0\0\x18\3" * 30,
    "chat_template.jinja": b"{% for m in messages %}{{ m.content }}{% endfor %}", ".gitattributes": b"*.bin lfs\n",
    "photo.png": b"\x89PNG\r\n\x1a\n" + bytes(99), "doc.pdf": b"%PDF-1.7\n", "m.gguf": GGUF, "m.safetensors": TENSORS,
    "tokenizer.json": b'{"model":{"vocab":{"auto_map":1}}}', "numbers": bytes(range(256)) * 40,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small model that is as it should be."""
    place = tmp_path / "folder"
    place.mkdir()
    (place / "config.json").write_text('{"model_type":"llama","auto_map":{},"x":[{"auto_map":null}]}')
    (place / "model.safetensors").write_bytes(TENSORS)
    return place


def refusal(folder: Path) -> Failure:
    with pytest.raises(Failure) as failed:
        supply.presume_safe_folder(folder)
    return failed.value


@pytest.mark.parametrize("name", ["model.safetensors", "sub/tokenizer.model", "README.md"])
@pytest.mark.parametrize("case", DANGEROUS)
def test_what_is_dangerous_is_found_under_any_name(case: str, name: str, folder: Path) -> None:
    rule, data = DANGEROUS[case]
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(data)
    failure = refusal(folder)
    assert (failure.code, failure.data["file"]) == (f"supply-{rule}", name)
    assert f"`{name}`" in failure.message
    assert failure.hint


def test_what_is_harmless_is_left_alone(folder: Path) -> None:
    for name, data in HARMLESS.items():
        (folder / name).write_bytes(data)
    supply.presume_safe_folder(folder)


def test_every_length_of_a_safetensors_header(tmp_path: Path) -> None:
    """Some begin as pickles do: 80 02, 80 03 …"""
    for length in [0x80 + 256 * protocol + more for protocol in (2, 3, 4, 5) for more in (0, 0x2E0000, 0x4E0000)]:
        data = safetensors({"a": entry()})[8:]
        with (tmp_path / "m").open("wb") as file:
            file.write(struct.pack("<Q", length) + data + b" " * (length - len(data)) + bytes(8))
        assert danger_in(LocalFile(tmp_path / "m")) is None


def test_random_bytes_are_nothing(tmp_path: Path) -> None:
    source = random.Random(1)
    for _ in range(500):
        (tmp_path / "m").write_bytes(source.randbytes(60))
        assert danger_in(LocalFile(tmp_path / "m")) is None


def test_a_file_that_is_both(tmp_path: Path) -> None:
    (tmp_path / "m.safetensors").write_bytes(b"\x80\x04G" + bytes(5) + b'{"x' + b"\x8c\x02os\x8c\x06system\x93)R.")
    assert danger_in(LocalFile(tmp_path / "m.safetensors")) is not None


@pytest.mark.parametrize("name", [
    "config.json", "tokenizer_config.json", "preprocessor_config.json", "processor_config.json",
    "generation_config.json", "video_preprocessor_config.json", "sub/config.json"])
@pytest.mark.parametrize("said", [
    {"auto_map": {"AutoConfig": "x.Y"}}, {"text_config": {"deep": [[{"auto_map": {"AutoModel": "org/repo--m.M"}}]]}},
    {"custom_pipelines": {"p": {"impl": "p.P"}}}, [{"auto_map": "x.Y"}]])
def test_code_that_a_configuration_asks_for(name: str, said: Any, folder: Path) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(said))
    failure = refusal(folder)
    assert failure.code == "supply-code"
    assert "asks for code" in failure.message


@pytest.mark.parametrize("text", ["{" * 100_000, "[" * 100_000 + "]" * 100_000 , "nonsense",
                                  '{"a":"\udcff"}'])
def test_a_configuration_that_can_t_be_judged(text: str, folder: Path) -> None:
    (folder / "config.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert refusal(folder).code == "json-invalid"


@pytest.mark.parametrize("name", ["modeling_x.py", "sub/tokenization.PY", "x.pyc", "lib.so", "run.sh"])
def test_code_by_its_name(name: str, folder: Path) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("x = 1\n")
    assert refusal(folder).code == "supply-code"


@pytest.mark.parametrize(("name", "data", "code"), [
    ("m.safetensors", GGUF, "supply-content"), ("m.gguf", TENSORS, "supply-content"),
    ("m.safetensors", b"<html>", "supply-content"), ("m.gguf", b"", "supply-content"),
    ("m.safetensors", TENSORS[:-1], "safetensors-invalid"), ("m.gguf", GGUF[:20], "gguf-invalid"),
])
def test_content_that_is_not_what_the_name_says(name: str, data: bytes, code: str, folder: Path) -> None:
    (folder / name).write_bytes(data)
    assert refusal(folder).code == code


@pytest.mark.parametrize(("data", "seems"), [(b"<html>", "it is a web page"), (b"", "it is empty"),
                                             (bytes(range(99)), "it does not begin with GGUF")])
def test_a_gguf_that_is_none_is_said_to_be_what_it_seems(data: bytes, seems: str, folder: Path) -> None:
    (folder / "m.gguf").write_bytes(data)
    assert f"is not GGUF: {seems}" in refusal(folder).message


@pytest.mark.parametrize("target", ["../outside", "/etc/hostname", "nowhere", "loop", "sub/../../outside"])
def test_links_that_leave_the_folder(target: str, folder: Path) -> None:
    (folder.parent / "outside").write_text("secret")
    (folder / "sub").mkdir()
    (folder / "loop").symlink_to(target)
    assert refusal(folder).code == "supply-link"


def test_links_that_stay_inside(folder: Path) -> None:
    (folder / "again.safetensors").symlink_to("model.safetensors")
    supply.presume_safe_folder(folder)
    (folder / "sub").symlink_to("..", target_is_directory=True)
    assert refusal(folder).code == "supply-link"


def test_a_cache_of_hugging_face_links_to_its_blobs(folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "models--a--b"
    (cache / "blobs").mkdir(parents=True)
    (cache / "snapshots").mkdir()
    snapshot = folder.rename(cache / "snapshots" / ("0" * 40))
    (snapshot / "model.safetensors").rename(cache / "blobs" / "x")
    (snapshot / "model.safetensors").symlink_to("../../blobs/x")
    supply.presume_safe_folder(snapshot)
    (snapshot / "other.json").symlink_to("../../../outside.json")
    (tmp_path / "outside.json").write_text("{}")
    assert refusal(snapshot).code == "supply-link"


@pytest.mark.parametrize("make", [
    os.mkfifo, lambda path: path.symlink_to("/dev/zero")], ids=["pipe", "device"])
def test_what_is_no_file(make: Callable[[Path], None], folder: Path) -> None:
    make(folder / "model-2.safetensors")
    assert refusal(folder).code in ("supply-special", "supply-link")


@pytest.mark.parametrize("name", ["../x.safetensors", "/etc/passwd", "a/../../x.safetensors", "model.bin", "C:\\x"])
def test_an_index_that_leads_elsewhere(name: str, folder: Path) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    failure = refusal(folder)
    assert failure.code == "supply-path"
    assert "model.safetensors.index.json" in failure.message


def test_hidden_folders_are_passed_over(folder: Path) -> None:
    (folder / ".git").mkdir()
    (folder / ".git" / "object").write_bytes(zlib.compress(b"x" * 9000))
    supply.presume_safe_folder(folder)


def piece(path: str, data: bytes = b"", role: Any = "other") -> Piece:
    import hashlib

    return Piece(path, "sha256:" + hashlib.sha256(data).hexdigest(), len(data), role)


@pytest.mark.parametrize(("names", "form", "code"), [
    (["model.safetensors", "modeling.py"], "safetensors", "code"), (["pytorch_model.bin"], "safetensors", "pickle"),
    (["x/consolidated.00.PTH"], "safetensors", "pickle"), (["a.json", "A.json"], "safetensors", "path"),
    (["a", "a/b"], "safetensors", "path"), (["a/b/c", "A"], "gguf", "path"), (["m.ckpt"], "gguf", "pickle"),
    (["m.bin"], "gguf", None), (["model.safetensors", "config.json", "LICENSE", "a/b.json"], "safetensors", None),
])
def test_what_a_list_of_files_shows(names: list[str], form: Form, code: str | None) -> None:
    artifact = Artifact("hf://a/b", "hf://a/b@1", form, tuple(piece(name) for name in names))
    if code is None:
        return supply.presume_wanted(artifact)
    with pytest.raises(Failure) as failed:
        supply.presume_wanted(artifact)
    assert failed.value.code == f"supply-{code}"


@pytest.mark.parametrize(("path", "data", "role", "code"), [
    ("model", GGUF, "weights", None), ("model", TENSORS, "weights", None),
    ("model", b"something else entirely", "weights", "supply-content"),
    ("model", pickle.dumps(Runs()), "weights", "supply-pickle"),
    ("config.json", b'{"auto_map":{"a":"b"}}', "config", "supply-code"), ("template", b"{{ x }}", "template", None),
])
def test_an_artifact_in_the_store(path: str, data: bytes, role: str, code: str | None, tmp_path: Path) -> None:
    store, one = Store(tmp_path / "models"), piece(path, data, role)
    (tmp_path / "file").write_bytes(data)
    with store.workspace("x") as work:
        (work / "f").write_bytes(data)
        (store.root / "blobs").mkdir(exist_ok=True)
        store.add(work / "f", one.digest)
    artifact = Artifact("ollama://m:latest", "ollama://m@1", "gguf", (one,))
    if code is None:
        return supply.presume_safe(artifact, store)
    with pytest.raises(Failure) as failed:
        supply.presume_safe(artifact, store)
    assert failed.value.code == code
    assert "ollama://m:latest" in failed.value.message or code != "supply-content"


def test_a_users_own_paths_are_looked_at(tmp_path: Path) -> None:
    store = Store(tmp_path / "models")
    made = Path(models.huggingface_folder(
        models.acquire(str(small_model(tmp_path / "m.gguf")), tmp_path, store=store), store).path)
    models.acquire(str(made), tmp_path, store=store)
    own = tmp_path / "own"
    own.mkdir()
    for file in made.iterdir():
        (own / file.name).write_bytes(file.read_bytes())
    (own / "training_args.bin").write_bytes(pickle.dumps(Runs()))
    with pytest.raises(Failure) as failed:
        models.acquire(str(own), tmp_path, store=store)
    assert failed.value.code == "supply-pickle"
    (tmp_path / "p.gguf").write_bytes(pickle.dumps(Runs()))
    with pytest.raises(Failure) as failed:
        models.acquire("./p.gguf", tmp_path, store=store)
    assert failed.value.code == "supply-pickle"
