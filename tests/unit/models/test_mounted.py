"""A folder that a container mounts has everything in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelkit.models.mounted import mountable


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MODELKIT_HOME", str(tmp_path / "home"))
    return tmp_path


def test_a_folder_without_links_is_mounted_as_it_is(home: Path) -> None:
    folder = home / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub/config.json").write_text("{}")
    (folder / "same").symlink_to("sub/config.json")  # leads nowhere else
    assert mountable(folder, "sha256:aa") == folder


def test_a_hub_cache_is_shown_without_its_links(home: Path) -> None:
    blobs, shown = home / "blobs", home / "snapshots/abc"
    blobs.mkdir()
    (shown / "sub").mkdir(parents=True)
    for name in ("config.json", "sub/model.safetensors"):
        blob = blobs / name.replace("/", "-")
        blob.write_text(name)
        (shown / name).symlink_to(blob)
    made = mountable(shown, "sha256:aa")
    assert made != shown and mountable(shown, "sha256:aa") == made
    files = {str(p.relative_to(made)): p for p in made.rglob("*") if p.is_file()}
    assert sorted(files) == ["config.json", "sub/model.safetensors"]
    assert not any(p.is_symlink() for p in files.values())
    assert files["config.json"].samefile(blobs / "config.json"), "a second copy of gigabytes"
    assert [p.name for p in made.parent.iterdir()] == [made.name]
