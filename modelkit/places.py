"""Where modelkit keeps things: XDG directories, or everything under `MODELKIT_HOME`.

| place | default | holds |
|---|---|---|
| cache | `$XDG_CACHE_HOME/modelkit` | model files by digest, derived forms; safe to delete |
| data | `$XDG_DATA_HOME/modelkit` | engine environments |
| state | `$XDG_STATE_HOME/modelkit` | logs of what ran |
| run | `state/run` | sockets, locks and state of what runs now |

Not under `$XDG_RUNTIME_DIR`: that is removed at the last logout, while `up -d` goes on, and a cron job or `sudo -u`
has none, so that two commands of one user would not find each other.
"""

from __future__ import annotations

import os
from pathlib import Path

_DEFAULTS = {"cache": ("XDG_CACHE_HOME", ".cache"), "data": ("XDG_DATA_HOME", ".local/share"),
             "state": ("XDG_STATE_HOME", ".local/state")}


def place(kind: str) -> Path:
    """The directory for `cache`, `data`, `state` or `run`; it need not exist yet."""
    if home := os.environ.get("MODELKIT_HOME"):
        return Path(home).expanduser().absolute() / kind
    if kind == "run":
        return place("state") / "run"
    variable, fallback = _DEFAULTS[kind]
    given = os.environ.get(variable)
    # The XDG specification says to ignore a relative path here.
    root = Path(given) if given and Path(given).is_absolute() else Path.home() / fallback
    return root / "modelkit"


def private_directory(path: Path) -> Path:
    """Make `path` for this user alone (0700) and return it."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.chmod(0o700)
    return path
