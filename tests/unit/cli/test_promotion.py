"""`promote` and `rollback` through the command line: a real supervisor, stub engines, gates that say what they must."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from modelkit.cli import gating
from modelkit.cli.main import main
from modelkit.cli.stages import Stages
from modelkit.engines.launch import RUN, Launch
from modelkit.models.digests import file_digest
from modelkit.planning.plan import Engine, Plan, Weights
from modelkit.platforms.bundle import Bundle
from modelkit.release import history
from modelkit.release.gates import GateContext, Measures
from modelkit.release.parity import Difference, ParityReport
from modelkit.release.promotion.subject import subject
from modelkit.release.record import Actor, Records
from modelkit.runtime.client import Client, Project, ensure, project_id
from modelkit.runtime.edge import Access
from tests.unit.runtime.conftest import home  # noqa: F401  (a fixture)
from tests.unit.runtime.support import FAST, STUB, Home, post

TEXT = "NAME stub\nFROM ./weights.gguf\nPARAMETER temperature {}\n"
Run = Callable[..., tuple[int, str, str]]


class Life:
    """One Modelfile whose stages run stub engines; its text's digest is the engine's version."""

    def __init__(self, folder: Path, home: Home) -> None:  # noqa: F811
        self.folder, self.home, self.parity = folder, home, list[str]()
        (folder / "weights.gguf").write_bytes(b"weights")
        self.write(0.1)

    def write(self, temperature: float) -> None:
        (self.folder / "Modelfile").write_text(TEXT.format(temperature))

    def bundle(self, stage: str) -> Bundle:
        path = self.folder / "weights.gguf"
        weights = Weights(reference="./weights.gguf", form="gguf", path=str(path), digest=file_digest(path), size=7)
        words = (sys.executable, "-S", STUB, "--socket", f"{RUN}/engine.sock", "--say",
                 (self.folder / "Modelfile").read_text())
        plan = Plan(name="stub", modelfile=str(self.folder / "Modelfile"), stage=stage, platform="process",
                    engine=Engine(name="llama.cpp", provider="test", version=words[-1], command=words),
                    engine_name="llama.cpp",
                    reference="./weights.gguf", weights=weights, context_length=512, max_concurrency=4, profile={},
                    settings=(), port=1)
        return Bundle(plan, Launch(words, start_seconds=20, grace_seconds=3))

    def context(self, stages: Stages, source: Bundle, target: Bundle, **more: Any) -> GateContext:
        different = tuple(Difference(one, 3, "Hi", "'a'", "'b'", 9, 9) for one in self.parity)
        report = ParityReport(42, 1000, different)
        measures = Measures(lint=lambda: [], lock=lambda: None, supply=dict, lost=lambda: [], parity=lambda: report)
        about = subject(stages.modelfile, target)
        return GateContext(stages.modelfile, source.plan.stage, target.plan.stage, about, history.read(self.records),
                           Actor(name="Ann", source="env"), measures, more["overrides"], fresh=True)

    def supervisor(self) -> Client:
        """One at any port; it stays as long as somebody is connected."""
        return ensure(self.home.project, host="127.0.0.1", port=0, access=Access(), timing=FAST,
                      modelfiles=(str((self.folder / "Modelfile").resolve()),))

    @property
    def records(self) -> Records:
        return Records(self.folder / "Modelfile", "stub", "prod")

    def kinds(self) -> list[str]:
        return [one.record.kind for one in history.read(self.records).chain]

    def serves(self) -> tuple[str, str]:
        """The stage and the version that have the address; it answers."""
        with self.home.connect() as client:
            assert post(client.endpoint, max_tokens=1)[0] == 200
            routed = next(one for one in client.status()["generations"] if one["routed"])
            return routed["stage"], client.plan(routed["id"])["engine"]["version"].split()[-1]


@pytest.fixture
def life(tmp_path: Path, home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[Life]:  # noqa: F811
    made = Life(tmp_path, home)
    home.project = Project(project_id(tmp_path / "Modelfile"))

    def prepare(self: Stages, stages: Sequence[str], *_: Any) -> list[Bundle]:
        return [made.bundle(stage) for stage in stages]

    monkeypatch.setattr(Stages, "prepare", prepare)
    monkeypatch.setattr(gating, "context_of", made.context)
    monkeypatch.chdir(tmp_path)
    with made.supervisor():
        yield made


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*words: str) -> tuple[int, str, str]:
        try:
            code = main(words)
        except SystemExit as left:
            code = left.code if isinstance(left.code, int) else 1
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return code, out, err

    return run


def test_there_and_back(life: Life, run: Run) -> None:
    code, out, err = run("promote", "dev", "prod", "--json")
    assert code == 0, err
    first = json.loads(out)
    assert (first["outcome"], first["mode"]) == ("promoted", "side-by-side")
    assert [one["verdict"] for one in first["gates"]] == ["pass"] * len(first["gates"])
    assert life.serves() == ("prod", "0.1")
    code, out, _ = run("promote", "dev", "prod")
    assert code == 0 and "served by stage prod already" in out and life.kinds() == ["promote"]

    life.write(0.2)
    life.parity.append("a difference")
    code, out, err = run("promote", "dev", "prod", "--json")
    assert code == 1 and json.loads(out)["error"]["code"] == "promotion-refused" and "parity: fail" in err
    assert life.serves() == ("prod", "0.1") and life.kinds() == ["promote", "refuse"]

    life.parity.clear()
    code, out, err = run("promote", "dev", "prod")
    assert code == 0 and "42 conversations, 1000 tokens, all equal" in out, err
    assert "at once for 600 s" in out and life.serves() == ("prod", "0.2")

    code, out, err = run("rollback", "prod", "--reason", "too warm", "--json")
    back = json.loads(out)
    assert code == 0 and back["warm"] and back["to"] == first["record"]["id"], err
    assert life.serves() == ("prod", "0.1")
    assert life.kinds() == ["promote", "refuse", "promote", "rollback"]
    code, _, err = run("promote", "dev", "prod")
    assert code == 1 and "error[held]" in err and "too warm" in err
    assert life.serves() == ("prod", "0.1")
    code, _, err = run("rollback", "--reason", "again")
    assert code == 2 and "error[nothing-before]" in err


def test_a_rollback_after_a_reboot_starts_what_served(life: Life, run: Run) -> None:
    assert run("promote", "dev", "prod")[0] == 0
    life.write(0.2)
    assert run("promote", "dev", "prod", "--keep-warm", "0")[0] == 0
    life.home.connect().down(0)
    with life.supervisor():
        code, out, err = run("rollback", "prod", "--reason", "it was slower", "--dry-run")
        assert code == 0 and "would go back" in out, err
        code, out, err = run("rollback", "prod", "--reason", "it was slower")
        assert code == 0 and "started as it was" in out, err
        assert life.serves() == ("prod", "0.1")


def test_without_room_for_both_the_old_one_makes_place_and_comes_back(life: Life, run: Run) -> None:
    assert run("promote", "dev", "prod")[0] == 0
    life.write(0.2)
    life.parity.append("a difference")
    code, _, err = run("promote", "dev", "prod", "--mode", "swap")
    assert code == 1 and "drains and stops, to make room" in err
    assert life.serves() == ("prod", "0.1")
    life.parity.clear()
    code, out, err = run("promote", "dev", "prod", "--mode", "swap")
    assert code == 0 and "(it starts anew)" in out, err
    assert life.serves() == ("prod", "0.2")


def test_an_override_is_in_the_record(life: Life, run: Run) -> None:
    life.parity.append("a difference")
    words = ("promote", "dev", "prod", "--override", "parity", "--reason", "the space is meant")
    code, _, err = run(*words)
    assert code == 2 and "needs `--until`" in err
    code, _, err = run(*words, "--until", "2026-01-01")
    assert code == 2 and "is over" in err
    assert run(*words, "--until", "2099-01-01")[0] == 0
    (override,) = history.read(life.records).chain[0].record.overrides
    assert (override.gate, override.reason, override.expires[:10]) == ("parity", "the space is meant", "2099-01-02")


@pytest.mark.parametrize(("words", "said"), [
    (("promote", "dev", "dev"), "cannot be promoted to itself"),
    (("promote", "dev", "prod", "--canary", "50,5"), "rising percentages"),
    (("promote", "dev", "prod", "--canary", "0,100"), "rising percentages"),
    (("promote", "dev", "prod", "--each", "soon"), "is no time"),
    (("promote", "dev", "prod", "--keep-warm", "9999h"), "is no time"),
    (("promote", "dev", "prod", "--min-requests", "0"), "is not a number of requests"),
    (("promote", "dev", "prod", "--max-ratio", "0.5"), "is no ratio"),
    (("promote", "dev", "prod", "--until", "2099-01-01"), "goes with `--override`"),
    (("promote", "dev", "prod", "--override", "smoke", "--reason", "r", "--until", "2099-01-01"), "no gate is called"),
    (("rollback", "prod"), "--reason"),
    (("rollback", "prod", "--reason", " "), "`--reason` is empty"),
    (("rollback", "prod", "--reason", "r"), "error[nothing-promoted]"),
    (("rollback", "prod", "--reason", "r", "--to", "x"), "error[nothing-promoted]"),
])
def test_bad_words_are_one_error_and_change_nothing(life: Life, run: Run, words: tuple[str, ...], said: str) -> None:
    code, _, err = run(*words)
    assert code == 2 and said in err
    assert life.home.engines() == [] and life.kinds() == []


def test_a_second_command_names_the_first(life: Life, run: Run) -> None:
    from modelkit.cli.promoting import journal_of

    with journal_of(life.folder / "Modelfile").alone("promote"):
        code, _, err = run("promote", "dev", "prod")
    assert code == 1 and f"process {os.getpid()}" in err


def test_every_event_may_be_signed(life: Life, run: Run, tmp_path: Path) -> None:
    key = tmp_path / "ada"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ada", "-f", str(key)], check=True)
    allowed = tmp_path / "allowed"
    allowed.write_text(f"ada@example.org {key.with_suffix('.pub').read_text()}")
    assert run("promote", "dev", "prod", "--sign", str(tmp_path / "none"))[0] == 2
    assert life.kinds() == []
    assert run("promote", "dev", "prod", "--sign", str(key))[0] == 0
    life.write(0.2)
    life.parity.append("a difference")
    assert run("promote", "dev", "prod", "--sign", str(key))[0] == 1
    life.parity.clear()
    assert run("promote", "dev", "prod", "--sign", str(key))[0] == 0
    assert run("rollback", "prod", "--reason", "slow", "--sign", str(key))[0] == 0
    assert life.kinds() == ["promote", "refuse", "promote", "rollback"]
    code, out, err = run("history", "verify", "--signed", "--allowed-signers", str(allowed))
    assert code == 0, out + err
    assert run("hold", "prod", "--reason", "again")[0] == 0
    assert run("history", "verify", "--signed", "--allowed-signers", str(allowed))[0] == 1
