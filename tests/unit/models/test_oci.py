"""OCI artifacts, pushed to and pulled from a real registry."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
import subprocess
import sys
import tarfile
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from modelkit.failure import Failure
from modelkit.models.acquire import acquire, pull
from modelkit.models.artifact import Artifact, Piece
from modelkit.models.reference import Reference
from modelkit.models.sources import oci
from modelkit.models.store import Store
from modelkit.models.weights import Weights
from tests.unit.models.archives import huge_header, tar
from tests.unit.models.docker_registry import DockerRegistry, running
from tests.unit.models.gguf_files import TensorOf, gguf, pair

GGUF = gguf([pair("general.architecture", "string", "llama")], [TensorOf("t", (256,), 0, bytes(1024))])
LARGE = gguf([pair("general.architecture", "string", "llama")],
             [TensorOf("t", (1024, 8192), 0, bytes(32 << 20))])
SAFETENSORS, SECOND = b"\x02\0\0\0\0\0\0\0{}", b"\x08\0\0\0\0\0\0\0{}      "
PROJECTOR = gguf([pair("general.architecture", "string", "clip")])
GOLDEN = "sha256:f3a2062bada26afb3cc4a9a3e0730ea343bc374677dd87c7ad7b6fc7e536fe21"
CONFIG = b'{"architectures": ["LlamaForCausalLM"]}'


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    with running(tmp_path_factory.mktemp("registry")) as one:
        yield one


@pytest.fixture(autouse=True)
def no_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    for name in ("REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def place(registry: DockerRegistry, name: str, digest: str = "") -> Reference:
    return Reference.parse(f"oci://{registry.host}/{name}" + (f"@{digest}" if digest else ""), Path("/"))


def held(store: Store, **files: bytes) -> Artifact:
    """A model in a store."""
    pieces = []
    for name, data in files.items():
        with store.workspace(name) as work:
            (work / "file").write_bytes(data)
            store.add(work / "file", sha256(data))
        path = name.replace("__", "/").replace("_json", ".json").replace("_gguf", ".gguf")
        pieces.append(Piece(path, sha256(data), len(data), "weights" if path.endswith(".gguf") else "config"))
    return Artifact("here", "here", "gguf", tuple(sorted(pieces)))


def test_what_was_pushed_is_pulled(registry: DockerRegistry, store: Store, tmp_path: Path) -> None:
    model = held(store, model_gguf=GGUF, deep__config_json=CONFIG)
    pushed = oci.push(model, place(registry, "ns/a:v1"), store)
    said, body = registry.manifest("ns/a", "v1")
    assert said == sha256(body) == pushed.revision
    assert pushed.resolved == f"oci://{registry.host}/ns/a:v1@{said}"
    there = Store(tmp_path / "there")
    pulled = pull(place(registry, "ns/a:v1"), store=there)
    assert pulled == pushed
    assert {piece.path: there.path(pulled, piece).read_bytes() for piece in pulled.files} == {
        "model.gguf": GGUF, "deep/config.json": CONFIG}
    assert registry.blob(sha256(GGUF)).read_bytes() == GGUF  # raw: no container around it
    assert acquire(pushed.resolved, store=there).path == str(there.blob(sha256(GGUF)))


def test_the_manifest_is_modelpack(registry: DockerRegistry, store: Store) -> None:
    pushed = oci.push(held(store, model_gguf=GGUF), place(registry, "ns/pack"), store)
    _, body = registry.manifest("ns/pack", "latest")
    said = json.loads(body)
    assert said["artifactType"] == "application/vnd.cncf.model.manifest.v1+json"
    assert said["config"]["mediaType"] == "application/vnd.cncf.model.config.v1+json"
    assert said["layers"] == [{
        "mediaType": "application/vnd.cncf.model.weight.v1.raw", "digest": sha256(GGUF), "size": len(GGUF),
        "annotations": {"org.cncf.model.filepath": "model.gguf", "org.opencontainers.image.title": "model.gguf"}}]
    config = json.loads(registry.blob(said["config"]["digest"]).read_bytes())
    assert config == {"descriptor": {}, "config": {"format": "gguf"},
                      "modelfs": {"type": "layers", "diffIds": [sha256(GGUF)]}}
    assert pushed.revision == GOLDEN  # the same files, the same digest, in every release


def test_pushed_twice_is_the_same_and_sent_once(registry: DockerRegistry, store: Store, tmp_path: Path) -> None:
    model = held(store, model_gguf=GGUF, config_json=CONFIG)
    first = oci.push(model, place(registry, "ns/twice:a"), store)
    sent = registry.requests("POST")
    second = oci.push(model, place(registry, "ns/twice:b"), store)
    assert (second.revision, registry.requests("POST")) == (first.revision, sent)
    elsewhere = Store(tmp_path / "elsewhere")
    third = oci.push(held(elsewhere, config_json=CONFIG, model_gguf=GGUF), place(registry, "other:a"), elsewhere)
    assert third.revision == first.revision


def test_a_moved_tag_does_not_move_what_was_pinned(registry: DockerRegistry, store: Store, tmp_path: Path) -> None:
    old = oci.push(held(store, model_gguf=GGUF), place(registry, "ns/moved:t"), store)
    new = oci.push(held(store, model_gguf=GGUF + bytes(32)), place(registry, "ns/moved:t"), store)
    assert old.revision != new.revision
    there = Store(tmp_path / "there")
    assert pull(Reference.parse(old.resolved, Path("/")), store=there).files == old.files
    assert pull(place(registry, "ns/moved", old.revision), store=there).files == old.files
    assert pull(place(registry, "ns/moved:t"), store=there).files == new.files
    with pytest.raises(Failure) as failed:
        pull(place(registry, "ns/moved", sha256(b"never")), store=there)
    assert failed.value.code == "model-missing"


@pytest.mark.parametrize("what", ["nobody/nothing:t", "ns/a:no-such-tag"])
def test_what_is_not_there(registry: DockerRegistry, store: Store, what: str) -> None:
    with pytest.raises(Failure) as failed:
        pull(place(registry, what), store=store)
    assert failed.value.code == "model-missing" and what in failed.value.message


PULL_OR_PUSH = """
import os, signal, sys
from pathlib import Path
from modelkit.models.acquire import pull
from modelkit.models.artifact import Artifact
from modelkit.models.reference import Reference
from modelkit.models.sources import oci
from modelkit.models.store import Store
import json
what, root, reference, artifact = sys.argv[1:]
def progress(done, total, label):
    if total and total > 1 << 20 and done > total // 3 and label.startswith(("uploading", "downloading")):
        os.kill(os.getpid(), signal.SIGKILL)
store, reference = Store(Path(root)), Reference.parse(reference, Path("/"))
if what == "pull":
    pull(reference, store=store, on_progress=progress)
else:
    oci.push(Artifact.from_json(json.loads(artifact)), reference, store, progress)
"""


def killed(what: str, store: Store, reference: Reference, artifact: Artifact) -> None:
    done = subprocess.run([sys.executable, "-c", PULL_OR_PUSH, what, str(store.root), reference.text,
                           json.dumps(artifact.as_json())], env=os.environ, check=False)
    assert done.returncode == -signal.SIGKILL


def test_killed_in_the_middle_and_run_again(registry: DockerRegistry, store: Store, tmp_path: Path) -> None:
    model, there = held(store, model_gguf=LARGE), Store(tmp_path / "there")
    reference = place(registry, "ns/killed:t")
    killed("push", store, reference, model)
    with pytest.raises(Failure):  # the tag comes last
        pull(reference, store=there)
    pushed = oci.push(model, reference, store)
    assert not any((store.root / "partial").iterdir())
    killed("pull", there, reference, model)
    assert there.find(reference.text) is None and not there.blob(sha256(LARGE)).exists()
    assert pull(reference, store=there) == pushed
    assert there.blob(sha256(LARGE)).read_bytes() == LARGE


def test_only_with_the_right_password(tmp_path: Path, store: Store) -> None:
    model = held(store, model_gguf=GGUF)
    config = tmp_path / "docker" / "config.json"
    config.parent.mkdir()
    with running(tmp_path / "registry", users=True) as registry:
        reference = place(registry, "ns/private:t")
        for password in (None, "wrong"):
            if password is not None:
                config.write_text(login(registry, "someone", password))
            for action in (partial(oci.push, model, store=store), partial(pull, store=store)):
                with pytest.raises(Failure) as failed:
                    action(reference)
                assert failed.value.code == "unauthorized" and "docker login" in str(failed.value.hint)
                assert "wrong" not in str(failed.value.as_json())
        config.write_text(login(registry, "someone", "right"))
        pushed = oci.push(model, reference, store)
        assert pull(reference, store=Store(tmp_path / "there")) == pushed


def login(registry: DockerRegistry, user: str, password: str) -> str:
    return json.dumps({"auths": {registry.host: {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}}})


def layer(media_type: str, data: bytes, **annotations: str) -> tuple[dict[str, Any], bytes]:
    return {"mediaType": media_type, "digest": sha256(data), "size": len(data), "annotations": {
        name.replace("_", "."): value for name, value in annotations.items()}}, data


def published(registry: DockerRegistry, name: str, config: str, *layers: tuple[dict[str, Any], bytes]) -> Reference:
    """Have a hand-made artifact in the registry, by plain HTTP."""
    def put(method: str, path: str, body: bytes, media_type: str) -> str:
        request = urllib.request.Request(path if "://" in path else f"http://{registry.host}{path}", body or None,
                                         {"Content-Type": media_type}, method=method)
        with urllib.request.urlopen(request) as answer:
            return str(answer.headers.get("Location"))

    for _, data in (*layers, ({}, b"{}")):
        url = put("POST", f"/v2/{name}/blobs/uploads/", b"", "text/plain")
        put("PUT", f"{url}&digest={sha256(data)}", data, "application/octet-stream")
    manifest: dict[str, Any] = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": {"mediaType": config, "digest": sha256(b"{}"), "size": 2},
                "layers": [one for one, _ in layers]}
    put("PUT", f"/v2/{name}/manifests/t", json.dumps(manifest).encode(), manifest["mediaType"])
    return place(registry, f"{name}:t")


DOCKER = "application/vnd.docker.ai."
CNCF = "application/vnd.cncf.model."
LAYOUTS = {
    "docker 0.1": (DOCKER + "model.config.v0.1+json", [
        layer(DOCKER + "gguf.v3", GGUF), layer(DOCKER + "license", b"MIT"), layer(DOCKER + "license", b"Apache"),
        layer(DOCKER + "mmproj", PROJECTOR), layer(DOCKER + "chat.template.jinja", b"{{ messages }}")],
        {"model.gguf": "weights", "LICENSE": "license", "LICENSE-2": "license", "mmproj.gguf": "projector",
         "chat_template.jinja": "template"}),
    "docker 0.2": (DOCKER + "model.config.v0.2+json", [
        layer(DOCKER + "safetensors", SAFETENSORS, org_cncf_model_filepath="model.safetensors"),
        layer(DOCKER + "model.file", CONFIG, org_cncf_model_filepath="sub/config.json")],
        {"model.safetensors": "weights", "sub/config.json": "config"}),
    "docker split": (DOCKER + "model.config.v0.1+json", [
        layer(DOCKER + "safetensors", SAFETENSORS), layer(DOCKER + "safetensors", SECOND),
        layer(DOCKER + "vllm.config.tar", tar(("./config.json", CONFIG), ("./tokenizer.json", b"{}")))],
        {"model-00001-of-00002.safetensors": "weights", "model-00002-of-00002.safetensors": "weights",
         "config.json": "config", "tokenizer.json": "config"}),
    "modelpack tar": (CNCF + "config.v1+json", [
        layer(CNCF + "weight.v1.tar", tar(("a/m.gguf", GGUF)), org_cncf_model_filepath="a/m.gguf"),
        layer(CNCF + "weight.config.v1.tar+gzip", tar(("config.json", CONFIG), mode="w:gz")),
        layer(CNCF + "doc.v1.raw", b"MIT", org_cncf_model_filepath="LICENSE"),
        layer(CNCF + "code.v1.tar+zstd", b"never fetched", org_cncf_model_filepath="run.py"),
        layer(CNCF + "dataset.v1.raw", b"never fetched", org_cncf_model_filepath="data.json")],
        {"a/m.gguf": "weights", "config.json": "config", "LICENSE": "license"}),
    "before the cncf": ("application/vnd.cnai.model.config.v1+json", [
        layer("application/vnd.cnai.model.weight.v1.raw", GGUF, org_cnai_model_filepath="m.gguf")],
        {"m.gguf": "weights"}),
    "a name that says nothing": ("application/vnd.cnai.model.config.v1+json", [
        layer("application/vnd.cnai.model.weight.v1.raw", GGUF, org_opencontainers_image_title="tiny")],
        {"tiny": "weights"}),
    "ollama elsewhere": ("application/vnd.docker.container.image.v1+json", [
        layer("application/vnd.ollama.image.model", GGUF), layer("application/vnd.ollama.image.system", b"Be kind.")],
        {"model.gguf": "weights", "system": "system"}),
    "oras": ("application/vnd.oci.empty.v1+json", [
        layer("application/vnd.oci.image.layer.v1.tar", GGUF, org_opencontainers_image_title="m.gguf"),
        layer("text/markdown", b"# hi", org_opencontainers_image_title="README.md"),
        layer("application/vnd.oci.image.layer.v1.tar+gzip", tar(("extra/tokenizer.json", b"{}"), mode="w:gz"),
              org_opencontainers_image_title="extra", io_deis_oras_content_unpack="true")],
        {"m.gguf": "weights", "README.md": "other", "extra/tokenizer.json": "config"}),
    "beside pickles": ("application/vnd.oci.empty.v1+json", [
        layer("a/b", SAFETENSORS, org_opencontainers_image_title="model.safetensors"),
        layer("a/b", b"pickle", org_opencontainers_image_title="pytorch_model.bin")],
        {"model.safetensors": "weights"}),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(registry: DockerRegistry, store: Store, layout: str) -> None:
    config, layers, files = LAYOUTS[layout]
    found = pull(published(registry, f"layouts/{layout.replace(' ', '-')}", config, *layers), store=store)
    assert {piece.path: piece.role for piece in found.files} == files
    assert found.form == ("safetensors" if any(path.endswith("safetensors") for path in files) else "gguf")
    assert all(store.intact(store.path(found, piece), piece.digest) for piece in found.files)
    kept = {piece.digest.replace(":", "-") for piece in found.files}
    assert {blob.name for blob in (store.root / "blobs").iterdir()} == kept  # no archive stays behind


def test_what_came_from_an_archive_is_fetched_again(registry: DockerRegistry, store: Store) -> None:
    config, layers, _ = LAYOUTS["modelpack tar"]
    found = oci.resolve(published(registry, "ns/archive", config, *layers), store, quietly)
    store.blob(sha256(GGUF)).unlink()
    oci.fetch(found, store, quietly)
    assert store.blob(sha256(GGUF)).read_bytes() == GGUF


HOSTILE = {
    "traversal": tar(("m.gguf", GGUF), ("../../m.gguf", GGUF)),
    "absolute": tar(("/etc/m.gguf", GGUF)),
    "symbolic link": tar(("m.gguf", b""), type=tarfile.SYMTYPE, linkname="/etc/passwd"),
    "hard link": tar(("m.gguf", b""), type=tarfile.LNKTYPE, linkname="x"),
    "device": tar(("m.gguf", b""), type=tarfile.CHRTYPE),
    "fifo": tar(("m.gguf", b""), type=tarfile.FIFOTYPE),
    "twice": tar(("m.gguf", GGUF), ("M.gguf", GGUF)),
    "file and folder": tar(("a", b"1"), ("a/m.gguf", GGUF)),
    "cut": tar(("m.gguf", GGUF))[:700],
    "no tar": b"no tar at all" * 100,
    "huge header": huge_header(),
    "bomb": None,
}


@pytest.mark.parametrize("vice", HOSTILE)
def test_hostile_archives(registry: DockerRegistry, store: Store, vice: str) -> None:
    data = HOSTILE[vice]
    packed = "tar"
    if data is None:
        packed, data = "tar+gzip", tar(("m.gguf", bytes(64 << 20)), mode="w:gz")
    reference = published(registry, f"hostile/{vice.replace(' ', '-')}", CNCF + "config.v1+json",
                          layer(f"{CNCF}weight.v1.{packed}", data))
    with pytest.raises(Failure) as failed:
        pull(reference, store=store)
    assert failed.value.code in ("registry-broken", "path-escapes")
    assert not any((store.root / "blobs").iterdir()) and not any((store.root / "work").iterdir())


@pytest.mark.parametrize("second", [
    layer(CNCF + "doc.v1.tar", tar(("../x", b"x"))), layer(CNCF + "doc.v1.raw", b"x", org_cncf_model_filepath="M.gguf"),
    layer(CNCF + "weight.v1.raw", SAFETENSORS, org_cncf_model_filepath="m.safetensors")])
def test_a_good_archive_beside_something_bad(registry: DockerRegistry, store: Store, second: Any) -> None:
    first = layer(CNCF + "weight.v1.tar", tar(("m.gguf", GGUF)))
    name = f"beside/{second[0]['digest'][7:20]}"
    with pytest.raises(Failure):
        pull(published(registry, name, CNCF + "config.v1+json", first, second), store=store)
    assert not any((store.root / "blobs").iterdir())


@pytest.mark.parametrize(("config", "layers", "code"), [
    (CNCF + "config.v1+json", [layer(CNCF + "weight.v1.tar+zstd", b"z")], "layer-unsupported"),
    (CNCF + "config.v1+json", [layer(CNCF + "doc.v1.raw", b"z", org_cncf_model_filepath="README.md")], "model-missing"),
    ("application/vnd.oci.image.config.v1+json", [layer("application/vnd.oci.image.layer.v1.tar+gzip", b"z")],
     "model-missing"),
    ("a/b", [layer("a/b", b"1", org_opencontainers_image_title="m.gguf"),
             layer("a/b", b"2", org_opencontainers_image_title="m.safetensors")], "model-ambiguous"),
    ("a/b", [layer("a/b", b"1", org_opencontainers_image_title="pytorch_model.bin")], "model-missing"),
])
def test_what_is_no_model(registry: DockerRegistry, store: Store, config: str, layers: list[Any], code: str) -> None:
    with pytest.raises(Failure) as failed:
        pull(published(registry, f"no/{sha256(str(layers).encode())[7:20]}", config, *layers), store=store)
    assert failed.value.code == code


def test_a_file_of_the_user_s(registry: DockerRegistry, store: Store, tmp_path: Path) -> None:
    (tmp_path / "my.gguf").write_bytes(GGUF)
    pushed = oci.push(acquire(str(tmp_path / "my.gguf"), store=store), place(registry, "ns/mine:t"), store)
    assert [piece.path for piece in pushed.files] == ["my.gguf"] and pushed.place == str(tmp_path)
    pulled = pull(place(registry, "ns/mine:t"), store=Store(tmp_path / "there"))
    assert (pulled.revision, pulled.files) == (pushed.revision, pushed.files)
    weights = acquire(pulled.resolved, store=Store(tmp_path / "there"))
    assert oci.push(weights, place(registry, "ns/mine:again"), Store(tmp_path / "there")).revision == pushed.revision


def test_a_folder_of_the_user_s(registry: DockerRegistry, store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / ".git").mkdir()
    for name, data in {"model.safetensors": SAFETENSORS, "config.json": CONFIG, "sub/tokenizer.json": b"{}",
                       ".git/config": b"x", "run.py": b"x"}.items():
        (folder / name).write_bytes(data)
    weights = Weights(reference=str(folder), form="safetensors", path=str(folder), digest=sha256(b"x"), size=1)
    pushed = oci.push(weights, place(registry, "ns/folder:t"), store)
    assert [piece.path for piece in pushed.files] == ["config.json", "model.safetensors", "sub/tokenizer.json"]
    there = Store(tmp_path / "there")
    pulled = pull(place(registry, "ns/folder:t"), store=there)
    assert pulled.form == "safetensors"
    assert (there.folder(pulled) / "sub/tokenizer.json").read_bytes() == b"{}"


def test_what_changed_here_is_not_pushed(registry: DockerRegistry, store: Store) -> None:
    model = held(store, model_gguf=GGUF)
    blob = store.blob(sha256(GGUF))
    blob.chmod(0o644)
    blob.write_bytes(GGUF[::-1])
    with pytest.raises(Failure) as failed:
        oci.push(model, place(registry, "ns/changed"), store)
    assert failed.value.code == "model-changed"


def quietly(done: int, total: int | None, label: str) -> None:
    assert label
