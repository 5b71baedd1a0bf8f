"""SGLang's own wheel, as pip gives it: our table is what it declares, and the launcher finds what it extends.

The wheel is read, not installed: 40 MB instead of a GPU's libraries.
"""

from __future__ import annotations

import ast
import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from modelkit.engines.flags import read_sglang, table
from modelkit.engines.images import IMAGES
from modelkit.engines.servers.sglang_server import ONE_PROCESS

pytestmark = pytest.mark.live_vllm
VERSION = IMAGES["sglang"][0].versions[0]
SERVER = "sglang/srt/entrypoints/http_server.py"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:",
                    "--platform", "manylinux_2_34_x86_64", "--python-version", "3.11", "-d", folder,
                    f"sglang=={VERSION}"], check=True)
    return next(folder.glob("sglang-*.whl"))


def functions(wheel: Path, name: str) -> dict[str, list[str]]:
    """The functions of a module and their parameters."""
    module = ast.parse(zipfile.ZipFile(wheel).read(name))
    return {node.name: [arg.arg for arg in node.args.args] for node in module.body
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}


def test_the_shipped_table_is_what_the_wheel_declares(wheel: Path) -> None:
    packed = zipfile.ZipFile(wheel)
    sources = {name: packed.read(name).decode() for name in packed.namelist() if read_sglang.wanted(name)}
    made = read_sglang.table(VERSION, sources, f"{wheel.name} sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}")
    shipped = table("sglang", VERSION)
    assert shipped is not None and made.text() == shipped.text()


def test_the_launcher_finds_what_it_extends(wheel: Path) -> None:
    server = functions(wheel, SERVER)
    assert "init_tokenizer_manager_func" in server["launch_server"]
    assert {"run_server"} <= set(functions(wheel, "sglang/launch_server.py"))
    text = zipfile.ZipFile(wheel).read(SERVER).decode()
    assert "\napp = FastAPI(" in text and "init_tokenizer_manager" in text
    manager = zipfile.ZipFile(wheel).read("sglang/srt/managers/tokenizer_manager.py").decode()
    assert "self.validate_total_tokens = True" in manager


def test_the_arguments_that_would_go_around_the_contract_are_there(wheel: Path) -> None:
    packed = zipfile.ZipFile(wheel)
    fields = {node.target.id for name in packed.namelist() if name.startswith(read_sglang.FIELDS)
              for node in ast.walk(ast.parse(packed.read(name)))
              if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)}
    assert set(ONE_PROCESS) <= fields
