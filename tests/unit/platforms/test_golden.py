"""What every case becomes on every platform, byte for byte; a refusal is a golden file, too.

`tests/golden/platforms/<case>/<platform>/` holds the files as `modelkit build -o` writes them, and `_manifests.json`
what is said about them. `pytest --update-golden` rewrites; read the diff.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path

import pytest

from modelkit.engines import ENGINES
from modelkit.failure import Failure
from modelkit.platforms import PLATFORMS
from tests.unit.platforms.cases import CASES, engine_of, rendered

GOLDEN = Path(__file__).parents[2] / "golden/platforms"
PAIRS = [pytest.param(case, platform, id=f"{case}-{platform}") for case in CASES for platform in PLATFORMS]


def presume_written(module: str) -> None:
    """Skip for a module that is still being written, and for nothing else."""
    try:
        import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        pytest.skip(f"{module} is not written yet")


def texts_of(case: str, platform: str) -> dict[str, str]:
    """The golden files' content by name."""
    try:
        found = rendered(case, platform)
    except Failure as failure:
        lines = [f"{failure.code}: {failure.message}", *(f"  | {line}" for line in failure.detail)]
        return {"refused.txt": "\n".join([*lines, *([f"  = hint: {failure.hint}"] if failure.hint else []), ""])}
    client = None if found.client is None else {
        "programs": found.client.programs, **{verb: [" ".join(words) for words in getattr(found.client, verb)]
                                              for verb in ("up", "down", "status", "logs")}}
    lowered = {f"{one.setting}": " ".join(filter(None, (one.verdict, one.target, one.reason and f"({one.reason})")))
               for one in found.plan.lowered if one.setting.startswith("serve.")}
    said = {"client": client, "modes": {f.path: f"{f.mode:04o}" for f in found.files}, "notes": found.notes,
            "lowered": lowered}
    assert len({f.path for f in found.files}) == len(found.files), "two files have one name"
    return {"_manifests.json": json.dumps(said, indent=1, ensure_ascii=False) + "\n",
            **{f.path: f.content for f in found.files}}


@pytest.mark.parametrize(("case", "platform"), PAIRS)
def test_is_exactly(case: str, platform: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch,
                    without_contract: None) -> None:
    for name in ("XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MODELKIT_HOME", "/srv/modelkit")
    monkeypatch.setattr(sys, "executable", "/srv/modelkit/bin/python")
    presume_written(PLATFORMS[platform].module)
    presume_written(ENGINES[engine_of(case, platform)])
    folder, texts = GOLDEN / case / platform, texts_of(case, platform)
    there = {str(p.relative_to(folder)): p for p in folder.rglob("*") if p.is_file()}
    if request.config.getoption("--update-golden"):
        for name in there.keys() - texts.keys():
            there[name].unlink()
        for name, text in texts.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, "utf-8", newline="")
        return
    assert sorted(there) == sorted(texts)
    for name, text in texts.items():
        assert (folder / name).read_bytes().decode() == text, name


@pytest.mark.parametrize(("case", "platform"), PAIRS)
def test_no_key_is_in_it(case: str, platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a key is kept may be written down; the key, which the machine knows, may not."""
    presume_written(PLATFORMS[platform].module)
    presume_written(ENGINES[engine_of(case, platform)])
    monkeypatch.setenv("SUPPORT_API_KEY", "sk-very-secret-0123456789")
    try:
        found = rendered(case, platform)
    except Failure:
        return  # test_is_exactly says which
    assert not [f.path for f in found.files if "sk-very-secret" in f.content]


def test_no_golden_folder_is_left_over() -> None:
    assert {p.name for p in GOLDEN.iterdir()} <= set(CASES) if GOLDEN.is_dir() else True
