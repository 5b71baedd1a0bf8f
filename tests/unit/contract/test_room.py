"""The room stands alone: a copy of it works in an interpreter that has nothing but the standard library."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import modelkit.contract
from modelkit.contract.profile import Profile
from tests.unit.contract.profiles import FULL

ROOM = Path(modelkit.contract.__file__).parent

PROGRAM = """
import asyncio, json, sys
import importlib
Contract = getattr(importlib.import_module("modelkit.contract.middleware"), "Contract")

async def engine(scope, receive, send):
    body = (await receive())["body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})

async def main():
    sent = []
    async def receive():
        question = {"model": "support", "messages": [{"role": "user", "content": "Hi"}]}
        return {"type": "http.request", "body": json.dumps(question).encode(), "more_body": False}
    async def send(message):
        sent.append(message)
    scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions",
             "headers": [(b"content-type", b"application/json")]}
    await Contract(engine)(scope, receive, send)
    print(sent[1]["body"].decode())

asyncio.run(main())
"""


def test_a_copy_of_the_folder_fills_requests_with_the_standard_library_alone(tmp_path) -> None:
    shutil.copytree(ROOM, tmp_path / "modelkit" / "contract", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "modelkit" / "__init__.py").write_text("")
    (tmp_path / "profile.json").write_text(json.dumps(FULL.as_json()))
    done = subprocess.run(
        [sys.executable, "-S", "-B", "-c", PROGRAM], capture_output=True, text=True, check=True, cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "MODELKIT_PROFILE": str(tmp_path / "profile.json")},
    )
    assert json.loads(done.stdout)["messages"][0] == {"role": "system", "content": "You are terse."}


def test_the_room_imports_itself_and_the_standard_library_and_is_python_3_10() -> None:
    for path in ROOM.glob("*.py"):
        tree = ast.parse(path.read_text("utf-8"), feature_version=(3, 10))
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else \
                [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                ours = name.startswith("modelkit.contract")
                assert ours or name.split(".")[0] in sys.stdlib_module_names, (path, name)


def test_a_profile_survives_json() -> None:
    assert Profile.loads(json.dumps(FULL.as_json())) == FULL
