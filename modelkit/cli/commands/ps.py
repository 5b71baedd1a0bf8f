"""`modelkit ps`."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from modelkit.cli.commands import deploy
from modelkit.cli.terminal import Terminal


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Every project of this user that runs, an engine a line."""
    del arguments
    from modelkit.runtime.client import runs

    found = runs()
    elsewhere = deploy.ps()
    terminal.document([*found, *elsewhere])
    rows = [row for run in found for row in _rows(run)]
    if rows:
        terminal.table(("NAME", "STAGE", "ENGINE", "STATUS", "UP", "MEMORY", "REQUESTS", "ADDRESS", "MODELFILE"), rows)
    deploy.say_ps(elsewhere, terminal)
    if not rows and not elsewhere:
        terminal.note("nothing is running")
    return 0


def _rows(run: dict[str, Any]) -> list[tuple[str, ...]]:
    modelfile, address = " ".join(run.get("modelfiles", ())), f"{run.get('endpoint', '')}/v1"
    if not run["alive"]:
        return [("", "", "", "died; the next command cleans up", "", "", "", address, modelfile)]
    if not run["generations"]:
        return [("", "", "", "idle", duration(run["uptime"]), "", "", address, modelfile)]
    return [
        (g["name"], g["stage"], g["engine"], _status(g), duration(g["uptime"]),
         f"{g['rss'] / 1e6:.0f} MB", str(g["in_flight"]), address if g["routed"] else "", g["modelfile"])
        for g in run["generations"]
    ]


def _status(generation: dict[str, Any]) -> str:
    words = ["idle (unloaded)" if generation["phase"] == "unloaded" else str(generation["phase"])]
    if generation["wanted"] > 1 and generation["phase"] != "unloaded":
        words[0] += f" {generation['ready']}/{generation['wanted']}"
    if generation["routed"]:
        words.append("serving")
    if generation.get("warm") is not None:
        words.append(f"warm for {duration(generation['warm'])}")
    words += [f"{word} {generation[kind]:.0%}" for kind, word in (("split", "canary"), ("mirror", "mirrored"))
              if generation.get(kind) is not None]
    return ", ".join(words)


def duration(seconds: float) -> str:
    """`45s`, `12m`, `3h 5m`, `2d 4h`."""
    minutes, hours, days = int(seconds // 60), int(seconds // 3600), int(seconds // 86400)
    if days:
        return f"{days}d {hours % 24}h"
    if hours:
        return f"{hours}h {minutes % 60}m"
    return f"{minutes}m" if minutes else f"{int(seconds)}s"
