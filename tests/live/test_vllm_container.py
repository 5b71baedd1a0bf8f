"""The containers of golden cases, read by the real vLLM's own parser: it must understand what was meant."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from modelkit.engines import vllm
from modelkit.engines.container import CONFIG
from modelkit.engines.word import Word
from modelkit.planning.plan import Plan
from modelkit.runtime import environments
from tests.unit.platforms.cases import CASES, engine_of, plan_of

pytestmark = [pytest.mark.live_vllm, pytest.mark.timeout(600)]

READ = """
import json, sys
from vllm.entrypoints.cli.serve import ServeSubcommand
from vllm.utils.argparse_utils import FlexibleArgumentParser

parser = FlexibleArgumentParser()
commands = parser.add_subparsers(dest="subparser")
ServeSubcommand().subparser_init(commands)
names = {word: action.dest for action in commands.choices["serve"]._actions for word in action.option_strings}
read = {case: vars(parser.parse_args(argv)) for case, argv in json.load(sys.stdin).items()}
print("READ", json.dumps([names, read], default=repr))
"""


def plans() -> dict[str, Plan]:
    """Every case on vLLM that can be had: as a container of this machine, and of others."""
    return {f"{case} on {platform}": plan_of(case, platform) for case in CASES for platform in ("compose", "kubernetes")
            if engine_of(case, platform) == "vllm" and (case, platform) != ("adapters", "kubernetes")}


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], dict[str, dict[str, Any]]]:
    environment = environments.find("vllm", ">=0.32,<0.33")
    if environment is None:
        pytest.fail("vLLM 0.32 is not installed here: run `modelkit engine install vllm`")
    asked, room = {}, tmp_path_factory.mktemp("containers")
    for case, plan in plans().items():
        made, folder = vllm.container(plan), room / case.replace(" ", "-")
        folder.mkdir()
        for file in made.files:
            if "/" not in file.path:
                (folder / file.path).write_text(file.content, "utf-8")
        asked[case] = ["serve", *(word.replace(f"{CONFIG}/vllm.yaml", str(folder / "vllm.yaml")) for word in made.args)]
    done = subprocess.run([Path(environment.path) / "bin" / "python", "-c", READ], input=json.dumps(asked), timeout=300,
                          capture_output=True, text=True, check=False, cwd=room,
                          env={"PATH": os.environ["PATH"], "HOME": str(room), "VLLM_NO_USAGE_STATS": "1"})
    assert done.returncode == 0, done.stderr[-2000:]
    names, found = json.loads(done.stdout.rpartition("READ ")[2])
    return names, found


@pytest.mark.parametrize("case", list(plans()))
def test_vllm_reads_what_was_meant(case: str, read: tuple[dict[str, str], dict[str, dict[str, Any]]]) -> None:
    names, found = read
    words = [word for word in vllm.words(plans()[case]) if not word.is_variable]
    assert found[case]["model_tag"] == words[0].value
    for word in words[1:]:
        assert _means(found[case][names[word.flag]], word), word.flag
    said = {names[word.flag] for word in words[1:]} | {"model_tag", "config", "subparser", "dispatch_function"}
    unsaid = {"middleware", "api_key", "ssl_keyfile", "allowed_origins", "trust_remote_code"} - said
    assert not [name for name in unsaid if found[case].get(name) not in (None, False, [])]


def _means(read: Any, word: Word) -> bool:
    if word.value is None:
        return read is not word.flag.startswith("--no-")
    if isinstance(word.value, tuple):  # LoRA modules alone: `name=path`
        return len(read) == len(word.value) and all(f"name='{name}', path='{path}'" in one for one, (name, _, path)
                                                    in zip(read, (said.partition("=") for said in word.value),
                                                           strict=True))
    if isinstance(read, list):
        return read == [word.value]
    if isinstance(read, (dict, int, float)):
        return bool(read == json.loads(word.value))
    if word.value.startswith("{"):  # a configuration of vLLM's, as it prints itself
        return all(f"{name}={value!r}" in read for name, value in json.loads(word.value).items())
    return bool(read == word.value)
