"""The command line's words of `modelkit fit`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from modelkit.cli.model_words import lock_flags

if TYPE_CHECKING:
    from modelkit.cli.parser import Subcommands


def add_fit_command(commands: Subcommands) -> None:
    """Add it."""
    parser = commands.add("fit", "fit", "say how much memory a model takes, line by line, which precision is the best "
                          "that fits, and how fast it will be", example="modelkit fit -s prod --hardware rtx4090")
    parser.add_argument("what", metavar="FILE|REFERENCE", nargs="*", help="a Modelfile, a folder that holds one, or a "
                        "model (`./m.gguf`, `hf.co/org/repo`) (default: the Modelfile of this folder)")
    parser.add_argument("-s", "--stage", help="the stage (default: $MODELKIT_STAGE, else dev)")
    parser.add_argument("--hardware", metavar="NAME[,NAME…]", action="append", default=[],
                        help="plan for another machine: `rtx4090`, `h100x8`, `m4-max`, `cpu:ddr5-5600x2`; several are "
                        "shown side by side (default: this machine, or the stage's SERVE accelerator)")
    parser.add_argument("--context", metavar="TOKENS", type=whole, help="another `num_ctx`")
    parser.add_argument("--concurrency", metavar="N", type=whole, help="another `SERVE max_concurrency`")
    parser.add_argument("--kv-cache", metavar="TYPE", type=cache_type, help="another `SERVE kv_cache`")
    parser.add_argument("--price", metavar="AMOUNT", type=price, help="what the machine costs an hour: adds the cost "
                        "of a million tokens")
    parser.add_argument("--users-at", metavar="LIMIT", action="append", default=[],
                        help="how many may ask at a time within it, such as `itl.p95 <= 50ms`; may be repeated")
    parser.add_argument("--siblings", action="store_true",
                        help="look on the Hub for checkpoints of the same base that the engine can serve there")
    parser.add_argument("--verify", action="store_true", help="start the engine beside what runs, compare what it "
                        "takes and how fast it is with what was predicted, and remember it; 1 if the prediction was "
                        "not as good as promised")
    parser.add_argument("--plot", metavar="FILE", nargs="?", const="-", help="draw memory against context and speed "
                        "against quality: in the terminal, or into a .svg or .png")
    lock_flags(parser)


def whole(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 2**31:
        raise argparse.ArgumentTypeError(f"`{text}` is not a number above 0")
    return int(text)


def price(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"`{text}` is no price of an hour")
    return value


def cache_type(text: str) -> str:
    from modelkit.language.kinds import Wrong
    from modelkit.language.serve import SERVE_KEYS

    found = SERVE_KEYS["kv_cache"].kind.read(text)
    if isinstance(found, Wrong):
        raise argparse.ArgumentTypeError(f"`{text}` is no precision of an attention cache: it must be {found.must_be}")
    return str(found)
