"""What check says about engines: the rule, the place, and that versions that are fine are silent."""

from __future__ import annotations

import subprocess
import sys

import pytest

from modelkit.engines import checking
from modelkit.engines.checking import findings, picked
from modelkit.engines.losses import LOST, NEUTRAL
from modelkit.engines.vllm_settings import SETTINGS
from modelkit.language.check import compile_source
from modelkit.language.examples import EXAMPLES
from modelkit.language.rules import FAMILIES
from modelkit.language.source import Source
from modelkit.planning.facts import Facts
from modelkit.planning.plan import Engine
from modelkit.planning.resolve import resolve


def said(prod: str, top: str = "", locked: dict[str, str] | None = None) -> list[tuple[str, int, str]]:
    """Rule, line and message of every finding."""
    inside = "".join(f"  {line}\n" for line in prod.splitlines())
    source = Source("Modelfile", f"FROM hf.co/org/model\n{top}STAGE prod {{\n{inside}}}\n")
    checked, _ = compile_source(source)
    return [(one.rule.id, source.line_column(one.span.start)[0], one.message) for one in findings(checked, locked)]


@pytest.mark.parametrize(("engine", "specifier", "version"), [
    ("vllm", "", "0.32.0"), ("vllm", ">=0.31,<0.33", "0.32.0"), ("vllm", "<0.32", "0.31.0"),
    ("vllm", ">=0.33", "0.33.0"), ("vllm", "==0.30.*", "0.30.0"), ("vllm", ">=7", ""), ("vllm", "nonsense", ""),
    ("llama.cpp", "", "0.3.36"), ("llama.cpp", ">=11000", "11549"), ("llama-server", "", "11549"),
    ("sglang", "", "0.5.23"), ("tensorrt-llm", "", "1.2.1")])
def test_the_version_that_a_range_means(engine: str, specifier: str, version: str) -> None:
    assert picked(engine, specifier) == version


def test_a_flag_that_the_version_lacks_is_an_error_where_it_is_said() -> None:
    (found,) = said("ENGINE vllm >=0.32,<0.33\nFLAG --enforce-eager\nFLAG --enforce-eagre")
    assert found == ("flag-not-in-engine", 5, "vllm 0.32.0 has no flag `--enforce-eagre`")
    (found,) = said("FLAG --dtype float8")
    assert found[:2] == ("flag-not-in-engine", 3) and "does not take `float8`" in found[2]


def test_a_flag_for_all_stages_is_checked_on_the_engine_of_each() -> None:
    found = said("ENGINE vllm", "FLAG --no-mmap\nSTAGE dev {\n}\n")
    assert {(one[0], one[1]) for one in found} == {("flag-not-in-engine", 2)}
    assert {one[2].split()[0] for one in found} == {"vllm", "llama-cpp-python"}  # it went from llama-server, too


def test_who_provides_llama_cpp_is_known_when_the_lock_says_it() -> None:
    for engine, flag, locked, wrong in (
            ("llama.cpp", "--swa-full", "", False), ("llama.cpp", "--kv-tokens 9", "", False),
            ("llama.cpp", "--swa-full", "0.3.36", True), ("llama.cpp", "--swa-full", "2026.10.11549", False),
            ("llama.cpp", "--kv-tokens 9", "0.3.36", False), ("llama.cpp", "--kv-tokens 9", "2026.10.11549", True),
            ("llama-server", "--swa-full", "", False), ("llama-server", "--kv-tokens 9", "", True)):
        found = said(f"ENGINE {engine}\nFLAG {flag}", locked={"prod": locked} if locked else None)
        assert bool(found) is wrong, (engine, flag, locked, found)


def test_a_range_that_lets_a_flag_break_is_a_warning_and_beyond_it_a_note() -> None:
    assert said("ENGINE vllm >=0.31,<0.33\nFLAG --grpc-port 1") == [
        ("flag-breaks-in-range", 4, "in vllm 0.31.0 (`>=0.31,<0.33` allows it) there is no `--grpc-port`"),
        ("engine-advisory", 3, "`>=0.31,<0.33` allows vllm 0.31.0, which has CVE-2026-115911, PYSEC-2026-4349"),
    ][::-1]
    assert said("ENGINE vllm >=0.32,<0.33\nFLAG --no-enable-prefix-caching") == [
        ("flag-changes", 4, "in vllm 0.33.0 (not in the range) `--no-enable-prefix-caching` is an old spelling of "
                            "`--disable-prefix-caching`")]


def test_a_choice_that_goes_matters_to_who_made_it() -> None:
    (found,) = said("ENGINE vllm >=0.32,<0.33\nFLAG --spec-method medusa")
    assert found[0] == "flag-changes" and "has no medusa, mlp_speculator any more" in found[2]
    assert said("ENGINE vllm >=0.32,<0.33\nFLAG --spec-method ngram") == []


def test_what_modelkit_says_itself_is_looked_after_too() -> None:
    tagged = said("ENGINE vllm >=0.30,<0.33\nSERVE tool_parser glm47")
    found = [one for one in tagged if one[0] == "flag-breaks-in-range"]
    assert found == [("flag-breaks-in-range", 3, "in vllm 0.30.0 (`>=0.30,<0.33` allows it) there is no "
                      "`--tool-strict-level`, which modelkit says itself for this stage")]


def test_weaknesses_of_the_version_that_is_locked_or_taken() -> None:
    grave = said("ENGINE vllm ==0.29.*")
    assert ("engine-vulnerable", 3) in {one[:2] for one in grave}
    assert any(one[0] == "engine-vulnerable" and "PYSEC-2026-4353 (high)" in one[2] for one in grave)
    assert not any("CVE-2026-114053" in one[2] for one in grave)  # out of reach: it needs --trust-remote-code
    locked = said("ENGINE vllm >=0.31", locked={"prod": "0.31.0"})
    assert any("vllm 0.31.0 has CVE-2026-115911 (medium)" in one[2] for one in locked)
    stale = said("ENGINE vllm >=0.32,<0.33", locked={"prod": "0.31.0"})
    assert stale == []  # the lock names what the range forbids: whoever locks again is told


@pytest.mark.parametrize("prod", ["", "ENGINE vllm >=0.32,<0.33", "PLATFORM kubernetes\nENGINE vllm ==0.32.*",
                                  "ENGINE sglang", "ENGINE tensorrt-llm", "ENGINE llama.cpp\nFLAG --threads 4",
                                  "ENGINE vllm >=7\nFLAG --anything"])
def test_silence_where_nothing_is_wrong_or_nothing_is_known(prod: str) -> None:
    assert said(prod) == []


def test_a_stage_that_cannot_be_planned_is_checked_as_far_as_it_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "_plan", lambda *_: (_ for _ in ()).throw(AssertionError("no")))
    assert not [one for one in said("ENGINE vllm >=0.30,<0.33") if one[0] == "flag-breaks-in-range"]


@pytest.mark.parametrize("rule", FAMILIES["engine"].rules)
def test_a_rules_examples_show_it(rule: str) -> None:
    for text, shows in ((EXAMPLES[rule].bad, True), (EXAMPLES[rule].good, False)):
        checked, _ = compile_source(Source("Modelfile", text))
        assert checked is not None
        assert (rule in {one.rule.id for one in findings(checked)}) is shows


def test_what_is_lost_on_vllm_is_lost_in_its_table_too() -> None:
    """On CPUs and GPUs alike, for every value but the neutral one."""
    for variant in ("cpu", "cuda"):
        checked, _ = compile_source(Source("Modelfile", "FROM hf.co/org/model\n"))
        assert checked is not None
        engine = Engine(name="vllm", provider="environment", version="0.32.0", variant=variant, command=("vllm",))
        plan = resolve(checked, "prod", Facts(engines={"vllm": engine}, reference="hf://org/model"))
        for name in LOST:
            answer = SETTINGS[name].rule(0, plan)
            assert answer is not None and (answer.verdict, answer.reason) == ("lost", LOST[name])
        for name, value in NEUTRAL.items():
            answer = SETTINGS[name].rule(value, plan)
            assert answer is None or answer.verdict == "equal"


@pytest.mark.parametrize(("prod", "top", "found"), [
    ("SERVE tool_parser hermes\nSERVE accelerator h100", "", []),
    ("SERVE tool_parser hermez", "", ["unknown-parser"]), ("ENGINE llama.cpp\nSERVE tool_parser hermez", "", []),
    ("SERVE tool_parser mine\nFLAG --tool-parser-plugin mine.py", "", []),
    ("SERVE reasoning_parser qwen", "", ["unknown-parser"]),
    ("SERVE accelerator H1000", "", ["unknown-accelerator"]), ("SERVE accelerator cpu", "", []),
    ("PARAMETER num_keep 4", "", ["lost-setting"]), ("SERVE port 1024", "PARAMETER num_keep 4\n", []),
    ("POLICY strict", "PARAMETER num_keep 4\n", ["lost-under-strict"]), ("POLICY strict", "PARAMETER num_gpu -1\n", []),
    ("ENGINE llama.cpp\nPOLICY strict\nPARAMETER num_gpu 20", "", []), ("FLAG --port 9", "", ["flag-not-yours"]),
    ("ENGINE sglang\nFLAG --host ::", "", ["flag-not-yours"]), ("FLAG --trust-remote-code", "", ["flag-not-yours"]),
])
def test_what_an_engine_does_not_have(prod: str, top: str, found: list[str]) -> None:
    assert [one[0] for one in said(prod, top) if not one[0].startswith("engine-")] == found


def test_what_check_knows_of_engines_loads_none_of_them() -> None:
    program = ("import sys; from modelkit.language.check import compile_source; from modelkit.engines.checking import "
               "findings; from modelkit.language.source import Source; m, _ = compile_source(Source('Modelfile', "
               "'FROM x:1\\nSTAGE prod {\\n  FLAG --port 1\\n  SERVE tool_parser x\\n  PARAMETER num_keep 4\\n}\\n')); "
               "assert len(findings(m)) >= 3; print(*sys.modules)")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"pydantic", "modelkit.engines.vllm", "modelkit.engines.vllm_settings"} & set(done.stdout.split())
