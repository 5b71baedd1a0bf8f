"""The command line's words about tests."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from modelkit.cli.model_words import arg_flag
from modelkit.cli.target_words import add_words

if TYPE_CHECKING:
    from modelkit.cli.parser import Subcommands


def add_testing_commands(commands: Subcommands) -> None:
    """Add `test`."""
    parser = commands.add("test", "test", "hold a Modelfile's tests with a model, and check its answers",
                          example="modelkit test -s dev")
    add_words(parser)
    arg_flag(parser)
    parser.add_argument("-k", dest="names", metavar="NAME", action="append", default=[],
                        help="only tests whose name contains this; may be repeated")
    parser.add_argument("--format", choices=["full", "junit", "github"], default="full",
                        help="full is for people; junit and github go to stdout (default: full)")
    parser.add_argument("--repeat", type=_count(1000), default=1, metavar="N",
                        help="hold each test so often, and all must pass (those that REPEAT stay as they are)")
    parser.add_argument("--concurrency", type=_count(256), metavar="N",
                        help="conversations at once (default: as many as the engine takes)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="the first seed (default: 0)")
    parser.add_argument("--timeout", type=_count(86400), default=120, metavar="SECONDS",
                        help="how long one answer may take (default: 120)")
    parser.add_argument("--retries", type=_count(10, 0), default=2, metavar="N",
                        help="how often to ask again what failed on the way (default: 2)")
    parser.add_argument("--update", action="store_true",
                        help="write what is answered now into golden files, where an exact text is expected")
    kept = parser.add_mutually_exclusive_group()
    kept.add_argument("--record", metavar="DIR", help="keep the answers there")
    kept.add_argument("--replay", metavar="DIR", help="ask nobody: check the answers that are kept there")
    examiner_words(parser)


def examiner_words(parser: argparse.ArgumentParser) -> None:
    """Who makes the checks that take more than an answer: another model, a program."""
    parser.add_argument("--allow-exec", action="store_true", help="run the programs that golden files name as checks")
    parser.add_argument("--judge", metavar="FILE|URL",
                        help="who judges `judge` checks: a Modelfile that runs here, or an address")
    parser.add_argument("--judge-model", metavar="NAME", help="its name there")
    parser.add_argument("--judge-key-env", metavar="NAME", help="the environment variable with the key for it")
    parser.add_argument("--judge-digest", metavar="DIGEST", help="stop unless this very model judges")
    parser.add_argument("--judge-votes", type=_votes, default=3, metavar="N",
                        help="how often it is asked; an odd number, the majority decides (default: 3)")
    parser.add_argument("--embeddings", metavar="FILE|URL",
                        help="who embeds for `similar` checks: a Modelfile that runs here, or an address")
    parser.add_argument("--embeddings-model", metavar="NAME", help="its name there")
    parser.add_argument("--embeddings-key-env", metavar="NAME", help="the environment variable with the key for it")


def _count(high: int, low: int = 1) -> Callable[[str], int]:
    """Reads a whole number within bounds."""

    def read(text: str) -> int:
        if not text.isdecimal() or not low <= int(text[:12]) <= high:
            raise argparse.ArgumentTypeError(f"`{text}` must be a whole number from {low} to {high}")
        return int(text)

    return read


def _votes(text: str) -> int:
    if not text.isdecimal() or int(text[:6]) % 2 == 0 or int(text[:6]) > 99:
        raise argparse.ArgumentTypeError(f"`{text}` must be an odd number below 100: a majority decides")
    return int(text)
