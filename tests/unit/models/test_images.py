"""Images by name: what Docker reads in them, and what a registry says they are."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import pytest

from modelkit.failure import Failure
from modelkit.models.sources.images import image_name, resolve_image
from tests.unit.cli.test_bundle import push_image
from tests.unit.models import docker_registry

DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(("text", "said"), [
    ("vllm/vllm-openai:v1", ("docker.io", "vllm/vllm-openai", "v1", "")),
    ("ubuntu", ("docker.io", "library/ubuntu", "latest", "")),
    ("localhost/x", ("localhost", "x", "latest", "")),
    ("nvcr.io/nvidia/tensorrt-llm/release:1.2.1", ("nvcr.io", "nvidia/tensorrt-llm/release", "1.2.1", "")),
    ("host:5000/a/b", ("host:5000", "a/b", "latest", "")),
    (f"host:5000/a/b@{DIGEST}", ("host:5000", "a/b", "", DIGEST)),
    (f"host.example/a/b:v1@{DIGEST}", ("host.example", "a/b", "v1", DIGEST)),
    ("host/a/b", ("docker.io", "host/a/b", "latest", "")),  # a first part without a dot is no host
])
def test_names_are_read_as_docker_reads_them(text: str, said: tuple[str, str, str, str]) -> None:
    found = image_name(text)
    assert (found.host, found.name, found.tag, found.digest) == said


@pytest.mark.parametrize("text", ["", "a@sha256:12", "a:b:c@x"])
def test_what_is_no_image_is_refused(text: str) -> None:
    with pytest.raises(Failure) as caught:
        image_name(text)
    assert caught.value.code == "image-invalid"


def test_a_registry_says_what_a_tag_is(tmp_path: Path) -> None:
    """Of an image for several architectures it is their list: each machine takes its own from it."""
    with docker_registry.running(tmp_path / "registry") as registry:
        one = push_image(registry.host, "ai/vllm", "amd64", "amd64")
        assert resolve_image(f"{registry.host}/ai/vllm:amd64").pinned == f"{registry.host}/ai/vllm@{one}"
        arm = push_image(registry.host, "ai/vllm", "arm64", "arm64")
        kind = "application/vnd.oci.image.index.v1+json"
        size = len(registry.manifest("ai/vllm", "amd64")[1])
        body = json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": [
            {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": size,
             "platform": {"os": "linux", "architecture": name}} for digest, name in ((one, "amd64"), (arm, "arm64"))]})
        request = urllib.request.Request(f"http://{registry.host}/v2/ai/vllm/manifests/v1", body.encode(),
                                         {"Content-Type": kind}, method="PUT")
        with urllib.request.urlopen(request) as answer:
            listed = answer.headers["Docker-Content-Digest"]
        found = resolve_image(f"{registry.host}/ai/vllm:v1")
        assert found.digest == listed and listed not in (one, arm)
        assert found.locked == f"{registry.host}/ai/vllm:v1@{listed}"
        with pytest.raises(Failure) as caught:
            resolve_image(f"{registry.host}/ai/vllm:v2")
        assert caught.value.code == "image-missing"


def test_a_digest_is_not_asked_for() -> None:
    assert resolve_image(f"nowhere.invalid/x@{DIGEST}").pinned == f"nowhere.invalid/x@{DIGEST}"
