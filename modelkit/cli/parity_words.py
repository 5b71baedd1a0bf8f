"""The command line's words of `modelkit parity`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from modelkit.cli.model_words import lock_flags

if TYPE_CHECKING:
    from modelkit.cli.parser import Subcommands


def add_parity_command(commands: Subcommands) -> None:
    """Add it."""
    parser = commands.add("parity", "parity", "show whether two stages read the same tokens, and answer alike",
                          example="modelkit parity dev prod")
    parser.add_argument("stages", metavar="STAGE", nargs="*", help="two stages, or one where the other side is a URL "
                        "(default: dev prod)")
    parser.add_argument("-f", "--file", metavar="FILE",
                        help="a Modelfile, or a folder that holds one (default: the Modelfile of this folder)")
    for which in ("left", "right"):
        parser.add_argument(f"--{which}-url", metavar="URL", help=f"the {which} side is this OpenAI endpoint (vLLM or "
                            "llama-server), such as http://host:8000/v1")
        parser.add_argument(f"--{which}-model", metavar="NAME",
                            help="the model's name there (default: the Modelfile's NAME)")
        parser.add_argument(f"--{which}-key-env", metavar="NAME", help="the environment variable with its key "
                            "(default: MODELKIT_API_KEY)")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--start", action="store_true", help="start a stage that does not run beside what serves, and "
                     "stop it afterwards")
    how.add_argument("--files", action="store_true", help="ask no engine: read templates and tokenizers from the files")
    how.add_argument("--render", action="store_true", help="for a stage of vLLM that does not run, start vLLM's "
                     "renderer (no GPU, no weights)")
    parser.add_argument("--conversations", metavar="FILE", action="append", default=[],
                        help="compare these, too: a JSON list of objects with `messages` (and `name`, `tools` …)")
    parser.add_argument("--only", metavar="TEXT", help="only conversations with this in their name")
    parser.add_argument("--full", action="store_true", help="print both prompts of each difference whole")
    answers = parser.add_argument_group("answers", "Where both sides run, they answer greedily and are compared.")
    answers.add_argument("--no-answers", action="store_true", help="compare prompts only")
    answers.add_argument("--max-tokens", type=_count, default=64, metavar="N", help="of each answer (default: 64)")
    answers.add_argument("--max-kl", type=_limit, metavar="NATS", help="fail where the divergence is surely above this")
    answers.add_argument("--min-top1", type=_share, metavar="SHARE", help="fail where the share of positions with the "
                         "same likeliest token is surely below this, such as 0.95")
    lock_flags(parser)


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 4096:
        raise argparse.ArgumentTypeError(f"`{text}` must be from 1 to 4096")
    return int(text)


def _limit(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"`{text}` must be a number from 0")
    return value


def _share(text: str) -> float:
    number = text.removesuffix("%")
    value = _limit(number) / (100 if text.endswith("%") else 1)
    if value > 1:
        raise argparse.ArgumentTypeError(f"`{text}` must be a share, such as 0.95 or 95%")
    return value
