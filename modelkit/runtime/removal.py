"""Takes installed environments of engines away, but never from under a process that runs from one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from modelkit.failure import Failure
from modelkit.runtime.environments import EngineEnvironment, alone, installed


def remove(engine: str, version: str | None = None, variant: str | None = None) -> list[EngineEnvironment]:
    """Take away the installed environments of an engine that fit; returns them.

    Raises Failure `environment-missing` where none does, and `environment-in-use` while a process runs from one.
    """
    fitting = [one for one in installed() if one.engine == engine and version in (None, one.version)
               and variant in (None, one.variant)]
    if not fitting:
        asked = " ".join(filter(None, (engine, version, variant)))
        here = ", ".join(f"{one.engine} {one.version} ({one.variant})" for one in installed()) or "none"
        raise Failure("environment-missing", f"there is no environment of {asked}", hint=f"there are: {here}")
    for one in fitting:
        _presume_idle(one)
    for one in fitting:
        folder = Path(one.path)
        with alone(folder.with_name(f".{folder.name}.lock"), lambda line: None):
            going = folder.with_name(f".{folder.name}.making")  # a kill meanwhile leaves what the next install clears
            shutil.rmtree(going, ignore_errors=True)
            folder.rename(going)
            shutil.rmtree(going, ignore_errors=True)
    return fitting


def _presume_idle(environment: EngineEnvironment) -> None:
    import psutil

    for process in psutil.process_iter(["pid", "cmdline"]):
        words = process.info["cmdline"] or ()
        if any(word.startswith(environment.path + os.sep) for word in words[:2]):
            raise Failure("environment-in-use", f"process {process.info['pid']} runs from {environment.path}",
                          hint="`modelkit down` where it was started, then run it again")
