"""The command line's words for gates and for the story of a stage."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from typing import TYPE_CHECKING

from modelkit.cli.model_words import arg_flag, lock_flags
from modelkit.cli.signing import sign_word
from modelkit.cli.testing_words import examiner_words

if TYPE_CHECKING:
    from modelkit.cli.parser import Subcommands

_FILE = "a Modelfile, or a folder that holds one (default: the Modelfile of this folder)"


def add_record_commands(commands: Subcommands) -> None:
    """Add all of them."""
    for add in (_gate, _history, _approve, _reject, _hold, _release):
        add(commands)


def _gate(commands: Subcommands) -> None:
    parser = commands.add("gate", "gate", "judge the gates of a promotion, and promote nothing",
                          example="modelkit gate dev prod")
    parser.add_argument("source", metavar="FROM", nargs="?", default="dev", help="the stage that it comes from "
                        "(default: dev)")
    parser.add_argument("target", metavar="TO", nargs="?", default="prod", help="the stage that it is for "
                        "(default: prod)")
    parser.add_argument("file", metavar="FILE", nargs="?", help=_FILE)
    lock_flags(parser)
    parser.add_argument("--only", metavar="GATE", action="append", help="only this gate; may be repeated")
    parser.add_argument("--list", action="store_true", help="list the gates, and judge none")
    parser.add_argument("--start", action="store_true", help="start the engines of both stages where they don't run, "
                        "beside what serves, and stop them again")
    parser.add_argument("--fresh", action="store_true", help="measure anew, whatever evidence there is")
    parser.add_argument("--max-age", type=_age, metavar="TIME", help="how old evidence may be, such as 12h or 7d "
                        "(default: by the kind of gate)")
    examiner_words(parser)
    overriding = parser.add_argument_group("overrides")
    overriding.add_argument("--override", metavar="GATE", action="append", default=[],
                            help="count this gate as if somebody took its failure on themselves; needs both of these:")
    overriding.add_argument("--reason", metavar="TEXT", help="why")
    overriding.add_argument("--until", metavar="DATE", help="when an override ends, such as 2026-12-01")


def _history(commands: Subcommands) -> None:
    parser = commands.add("history", "history", "tell what ran in a stage and why, and prove that nobody changed it",
                          example="modelkit history at 2026-10-01")
    parser.add_argument("action", choices=["list", "at", "show", "verify"], nargs="?", default="list",
                        help="at DATE: what served then; show RECORD: all of one; verify: was a byte changed? "
                        "(default: list)")
    parser.add_argument("word", metavar="DATE|RECORD", nargs="?", help="of `at` and `show`; days and times are UTC")
    parser.add_argument("-f", "--file", metavar="FILE", help=_FILE)
    parser.add_argument("-s", "--stage", help="only this stage (default: all that have records)")
    checking = parser.add_argument_group("verify")
    checking.add_argument("--allowed-signers", metavar="FILE", help="who may sign, in OpenSSH's format (default: "
                          "promotions/allowed_signers, if it is there)")
    checking.add_argument("--signed", action="store_true", help="every record must be signed")
    checking.add_argument("--head", metavar="RECORD", help="this record must be in the chain: an id noted elsewhere")
    arg_flag(parser)


def _approve(commands: Subcommands) -> None:
    parser = commands.add("approve", "record", "approve of a version for a stage",
                          example='modelkit approve prod --reason "reviewed the answers"')
    _said(parser, "approve", "the version (default: what the files make of the stage now)")
    parser.add_argument("--reason", metavar="TEXT", help="why; kept in the record")


def _reject(commands: Subcommands) -> None:
    parser = commands.add("reject", "record", "keep a version out of every stage, and take approvals back",
                          example='modelkit reject prod --reason "leaks the system prompt"')
    _said(parser, "reject", "the version (default: what the files make of the stage now)")
    parser.add_argument("--reason", metavar="TEXT", required=True, help="why; kept in the record")


def _hold(commands: Subcommands) -> None:
    parser = commands.add("hold", "record", "let nothing new into a stage", example='modelkit hold prod --reason '
                          '"a holiday"')
    _said(parser, "hold", "keep only this version out (default: all)")
    parser.add_argument("--reason", metavar="TEXT", required=True, help="why; kept in the record")
    parser.add_argument("--until", metavar="DATE", help="when it ends by itself, such as 2026-12-01")


def _release(commands: Subcommands) -> None:
    parser = commands.add("release", "record", "end a hold, or let a version in again",
                          example='modelkit release prod --reason "the fault is mended"')
    _said(parser, "release", "let this version in again (default: end all holds of the stage; what was rejected is "
          "named)")
    parser.add_argument("--reason", metavar="TEXT", required=True, help="why; kept in the record")


def _said(parser: ArgumentParser, word: str, version: str) -> None:
    parser.set_defaults(word=word)
    parser.add_argument("stage", metavar="STAGE", help="the stage that it is about")
    parser.add_argument("file", metavar="FILE", nargs="?", help=_FILE)
    parser.add_argument("--version", dest="about", metavar="VERSION", help=f"{version}: a digest as `gate` prints it, "
                        "its beginning, or the record of a promotion")
    sign_word(parser)
    lock_flags(parser)


def _age(text: str) -> float:
    """Seconds of `90s`, `12h`, `7d`."""
    unit = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}.get(text[-1:])
    try:
        seconds = float(text[:-1]) * unit if unit else -1.0
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 3660 * 86400:
        raise ArgumentTypeError(f"`{text}` is no time: write 12h or 7d")
    return seconds
