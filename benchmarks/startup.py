"""How long the short commands take, as whole processes, beside a bare Python that does nothing.

    python benchmarks/startup.py [ROUNDS]

Each round runs every command once, in turn; the medians are over the rounds. Run it on an idle machine, after one
warm-up round that also writes the bytecode.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
MODELKIT = str(Path(sys.executable).with_name("modelkit"))
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "modelkit --help": [MODELKIT, "--help"],
    "modelkit version": [MODELKIT, "version"],
    "modelkit check FILE": [MODELKIT, "check", "-q", str(ROOT / "examples/quickstart/Modelfile")],
    "modelkit plan FILE": [MODELKIT, "plan", "-q", str(ROOT / "examples/quickstart/Modelfile")],
}


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for turn in range(rounds + 1):
        for name, argv in COMMANDS.items():
            began = time.perf_counter()
            subprocess.run(argv, env=env, capture_output=True, check=True)
            if turn:
                times[name].append(time.perf_counter() - began)
    bare = statistics.median(times["python -c pass"])
    print("| command | median ms | min ms | x bare Python |\n|---|---|---|---|")
    for name, taken in times.items():
        median = statistics.median(taken)
        print(f"| `{name}` | {median * 1e3:.0f} | {min(taken) * 1e3:.0f} | {median / bare:.1f} |")


if __name__ == "__main__":
    main()
