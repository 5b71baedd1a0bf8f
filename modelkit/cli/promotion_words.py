"""The command line's words for moving the address to another version, and back."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from modelkit.cli.model_words import lock_flags
from modelkit.cli.signing import sign_word
from modelkit.cli.testing_words import examiner_words

if TYPE_CHECKING:
    from modelkit.cli.parser import Subcommands

_FILE = "a Modelfile, or a folder that holds one (default: the Modelfile of this folder)"


def add_promotion_commands(commands: Subcommands) -> None:
    """Add all of them."""
    for add in (_promote, _rollback):
        add(commands)


def duration(text: str) -> float:
    """Seconds of `90s`, `10m`, `1.5h` or a number of seconds."""
    unit = {"s": 1.0, "m": 60.0, "h": 3600.0}.get(text[-1:], 0.0)
    try:
        seconds = float(text[:-1]) * unit if unit else float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds <= 7 * 86400:
        raise argparse.ArgumentTypeError(f"`{text}` is no time: write 90s, 10m or 1h (a week at most)")
    return seconds


def steps(text: str) -> tuple[int, ...]:
    """Rising percentages: `5,25,50,100`."""
    words = text.split(",")
    found = tuple(int(word) for word in words if word.strip().isdecimal())
    if len(found) != len(words) or not all(0 < one <= 100 for one in found) or list(found) != sorted(set(found)):
        raise argparse.ArgumentTypeError(f"`{text}` are no steps: write rising percentages such as 5,25,50,100")
    return found


def at_least_one(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 10**9:
        raise argparse.ArgumentTypeError(f"`{text}` is not a number of requests")
    return int(text)


def ratio(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 1 <= value <= 100:
        raise argparse.ArgumentTypeError(f"`{text}` is no ratio: it must be from 1 to 100")
    return value


def _promote(commands: Subcommands) -> None:
    parser = commands.add("promote", "promote", "move the address to another stage once its gates have passed",
                          example="modelkit promote dev prod")
    parser.add_argument("source", metavar="FROM", help="the stage that it comes from")
    parser.add_argument("target", metavar="TO", help="the stage that shall serve")
    parser.add_argument("file", metavar="FILE", nargs="?", help=_FILE)
    _address(parser)
    lock_flags(parser)
    parser.add_argument("--dry-run", action="store_true", help="say what it would do and which gates it asks, and stop")
    parser.add_argument("-y", "--yes", action="store_true", help="don't ask, on a terminal, whether to begin")
    overriding = parser.add_argument_group("gates")
    overriding.add_argument("--override", metavar="GATE", action="append", default=[],
                            help="take the failure of this gate on yourself; may be repeated; needs both of these:")
    overriding.add_argument("--reason", metavar="TEXT", help="why; kept in the record")
    overriding.add_argument("--until", metavar="DATE", help="when an override ends, such as 2026-12-01")
    overriding.add_argument("--fresh", action="store_true", help="measure anew, whatever evidence there is")
    examiner_words(parser)
    sign_word(parser)
    switching = parser.add_argument_group("the switch")
    switching.add_argument("--mode", choices=["auto", "side-by-side", "swap"], default="auto",
                           help="swap: stop what serves first, where there is no room for both (default: auto)")
    switching.add_argument("--keep-warm", type=duration, default=600.0, metavar="TIME",
                           help="how long what served before stays ready for a rollback (default: 10m)")
    trying = parser.add_argument_group("real requests first")
    trying.add_argument("--shadow", type=duration, default=0.0, metavar="TIME",
                        help="copy all requests to the candidate for so long; nobody gets its answers")
    trying.add_argument("--canary", type=steps, metavar="STEPS",
                        help="send it growing parts of new conversations, in percent, such as 5,25,50,100")
    trying.add_argument("--each", type=duration, default=60.0, metavar="TIME", help="how long each step lasts at least "
                        "(default: 1m; up to five times that, where requests are few)")
    trying.add_argument("--min-requests", type=at_least_one, default=50, metavar="N",
                        help="answers that each side needs before they are compared (default: 50)")
    trying.add_argument("--max-ratio", type=ratio, default=1.5, metavar="R",
                        help="errors or p95 times as many times those of what serves are worse (default: 1.5)")
    clusters = parser.add_argument_group("clusters", "There a promotion is a change in a folder and a record, in Git.")
    clusters.add_argument("--render", action="store_true", help="write both, and start nothing")
    clusters.add_argument("-o", "--output", metavar="DIR", help="the folder, as `build -o` writes it")
    clusters.add_argument("--strategy", choices=["rolling", "blue-green"], help="on kubernetes: blue-green writes an "
                          "Argo Rollout (default: rolling)")
    clusters.add_argument("--gate-image", metavar="IMAGE", help="with blue-green: an image that has modelkit, by "
                          "digest; its Jobs hold the tests and EXPECTs with a version before it serves")
    clusters.add_argument("--weight", type=percent, metavar="PERCENT", help="on kserve: the new version's part of the "
                          "requests, from 1 to 100; the version before has the rest (default: 100)")


def percent(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= 100:
        raise argparse.ArgumentTypeError(f"`{text}` is no part of the requests: it must be from 1 to 100")
    return int(text)


def _rollback(commands: Subcommands) -> None:
    parser = commands.add("rollback", "rollback", "go back to what served before, and keep what served out",
                          example='modelkit rollback prod --reason "answers too long"')
    parser.add_argument("stage", metavar="STAGE", nargs="?", help="the stage (default: the one that serves, else prod)")
    parser.add_argument("file", metavar="FILE", nargs="?", help=_FILE)
    parser.add_argument("--reason", metavar="TEXT", required=True, help="why; kept in the record")
    parser.add_argument("--to", metavar="RECORD", help="the record to go back to, by its id or the beginning of it "
                        "(default: the last that ran something else)")
    parser.add_argument("--mode", choices=["auto", "side-by-side", "swap"], default="auto",
                        help="swap: stop what serves first, where there is no room for both (default: auto)")
    parser.add_argument("--dry-run", action="store_true", help="say where it would go, and stop")
    sign_word(parser)


def _address(parser: argparse.ArgumentParser) -> None:
    from modelkit.cli.parser import _port

    parser.add_argument("--port", type=_port, help="the address's TCP port (default: $MODELKIT_PORT, SERVE port, 8484)")
    parser.add_argument("--host", help="the address to bind (default: SERVE host, 127.0.0.1)")
