"""`modelkit diff`."""

from __future__ import annotations

from argparse import Namespace

from modelkit.cli import project
from modelkit.cli.stages import Stages
from modelkit.cli.terminal import Terminal


def run(arguments: Namespace, terminal: Terminal) -> int:
    """What would change for clients if one stage took the other's place. Changes nothing and fetches nothing."""
    from modelkit.planning.difference import KINDS, differences

    stages = Stages(project.load_asked(arguments, terminal), arguments)
    left, right = stages.plan(arguments.left), stages.plan(arguments.right)
    found = differences(left, right)
    counts = {kind: sum(one.kind == kind for one in found) for kind in reversed(KINDS)}
    terminal.document({"schema": "modelkit.diff/1", "left": left.stage, "right": right.stage, "counts": counts,
                       "differences": [one.as_json() for one in found]})
    if not found:
        terminal.data(f"{left.stage} and {right.stage} are the same")
        return 0
    terminal.table(("KIND", "SETTING", left.stage.upper(), right.stage.upper(), "ON THE ENGINES", "WHY"),
                   [(one.kind, one.setting, _short(one.left), _short(one.right),
                     " / ".join(verdict or "-" for verdict in (one.left_verdict, one.right_verdict)), one.why)
                    for one in found])
    terminal.data("")
    terminal.data(", ".join(f"{count} {kind}" for kind, count in counts.items() if count))
    return int(arguments.exit_code and any(one.kind != "safe" for one in found))


def _short(value: object) -> str:
    text = "-" if value is None else " ".join(str(value).split())
    return text if len(text) <= 32 else text[:29] + "..."
