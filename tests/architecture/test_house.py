"""The shape of the house: imports point down, heavy packages stay out of the way, the wheel is whole."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("numpy", "gguf", "tokenizers", "uvicorn", "uvloop", "xllamacpp", "httptools", "psutil", "jinja2", "tqdm")


def python(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, cwd=ROOT, timeout=120, check=False)


def test_imports_point_down() -> None:
    done = subprocess.run([Path(sys.executable).with_name("lint-imports")], capture_output=True, text=True, cwd=ROOT,
                          timeout=120, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(("argv", "forbidden"), [
    (["--help"], (*HEAVY, "pydantic", "lark", "asyncio")),
    (["version"], (*HEAVY, "pydantic", "lark", "asyncio")),
    (["check", "examples/quickstart/Modelfile"], (*HEAVY, "asyncio")),
], ids=lambda v: v[0] if isinstance(v, list) else "")
def test_light_commands_import_little(argv: list[str], forbidden: tuple[str, ...]) -> None:
    """`--help` under 200 ms and `check` under 300 ms are kept by what is not imported; benchmarks time them."""
    code = ("import sys\nfrom modelkit.cli.main import main\n"
            f"try:\n    main({argv!r})\nexcept SystemExit:\n    pass\n"
            "print('MODULES', *sorted({m.partition('.')[0] for m in sys.modules}))")
    done = python("-c", code)
    modules = done.stdout.rpartition("MODULES")[2].split()
    assert "modelkit" in modules, done.stderr
    assert not set(forbidden) & set(modules)


def test_the_contract_runs_on_the_standard_library_alone(tmp_path: Path) -> None:
    """vLLM imports it where nothing of ours is installed."""
    package = tmp_path / "modelkit"
    (package / "contract").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    for file in (ROOT / "modelkit" / "contract").glob("*.py"):
        (package / "contract" / file.name).write_text(file.read_text("utf-8"), "utf-8")
    done = subprocess.run([sys.executable, "-I", "-S", "-c",
                           f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import modelkit.contract.middleware"],
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_the_wheel_is_whole(tmp_path: Path) -> None:
    done = python("-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path))
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for needed in ("modelkit/language/modelfile.lark", "modelkit/release/parity/conversations.json",
                   "modelkit/contract/middleware.py", "modelkit/engines/requirements/vllm-0.32.0-cpu.txt"):
        assert needed in names
    assert not [n for n in names if n.startswith(("tests", "docs", "examples", "benchmarks"))]


def test_every_public_module_says_what_it_knows() -> None:
    silent = [str(p.relative_to(ROOT)) for p in (ROOT / "modelkit").rglob("*.py")
              if not p.read_text("utf-8").lstrip().startswith(('"""', 'r"""'))]
    assert silent == []


def test_nothing_is_left_for_later_in_the_code() -> None:
    words = ("TO" + "DO", "FIX" + "ME", "raise NotImplemented" + "Error")
    found = [f"{p.relative_to(ROOT)}: {w}" for p in (ROOT / "modelkit").rglob("*.py") for w in words
             if w in p.read_text("utf-8")]
    assert found == []
