"""The command line's words about how fast and how good a model answers."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from modelkit.cli.model_words import arg_flag
from modelkit.cli.target_words import add_words

if TYPE_CHECKING:
    from modelkit.cli.parser import Subcommands


def add_measuring_commands(commands: Subcommands) -> None:
    """Add all of them."""
    for add in (_bench, _eval):
        add(commands)


def _bench(commands: Subcommands) -> None:
    parser = commands.add("bench", "bench", "load a model, and say how fast it answers",
                          example="modelkit bench -s dev --concurrency 1,4,8 --limit 'ttft.p95 <= 500ms'")
    add_words(parser)
    arg_flag(parser)
    load = parser.add_mutually_exclusive_group()
    load.add_argument("--concurrency", metavar="N[,N…]", type=_many(_count), help="so many requests at a time; several "
                      "numbers make a sweep (default: 4)")
    load.add_argument("--rate", metavar="R[,R…]", type=_many(_rate),
                      help="so many requests a second, whether or not the engine keeps up")
    parser.add_argument("--even", action="store_true", help="with --rate: evenly spaced, not as people come")
    parser.add_argument("-n", "--requests", metavar="N", type=_count, help="measured at each load (default: 100)")
    parser.add_argument("--seconds", metavar="S", type=_rate, help="measure each load for so long at most")
    parser.add_argument("--warmup", metavar="N", type=_number, help="requests before, not counted (default: 2 for each "
                        "client, 5 at least)")
    parser.add_argument("--prompt-tokens", metavar="N[-M]", type=_range, help="the length of prompts (default: 128)")
    parser.add_argument("--answer-tokens", metavar="N[-M]", type=_range, help="the length of answers (default: 64)")
    parser.add_argument("--prompts", metavar="FILE", help="ask these: JSON lines with `messages` or `prompt`, or text, "
                        "one a line")
    parser.add_argument("--seed", metavar="N", type=_number, help="of prompts and arrivals (default: another each "
                        "time, so that no cache knows the prompts)")
    parser.add_argument("--limit", metavar="LIMIT", action="append", default=[], help="hold each load to it, such as "
                        "`itl.p95 <= 40ms`; may be repeated (default: the stage's EXPECTs)")
    parser.add_argument("--compare", metavar="FILE", help="an earlier result: say what is better, worse or the same; "
                        "1 if something is worse")
    parser.add_argument("--tolerance", metavar="SHARE", type=_share, default=0.05,
                        help="with --compare: changes that small are none (default: 5%%)")
    parser.add_argument("-o", "--out", metavar="FILE", help="write the result there, too, as JSON")
    parser.add_argument("--with", dest="tool", choices=["vllm"],
                        help="let `vllm bench serve` make the load, and count its samples by our rules")


def _eval(commands: Subcommands) -> None:
    parser = commands.add("eval", "eval", "score a model's answers to the tasks of an evaluation",
                          example="modelkit eval capitals.jsonl -s dev")
    parser.add_argument("tasks", metavar="TASK", nargs="*", help="a file of questions and answers (.jsonl, .yaml), a "
                        "task of lm-eval (gsm8k), or one of Inspect (a .py file) (default: the stage's EXPECT eval.…)")
    add_words(parser, file=False)
    arg_flag(parser)
    parser.add_argument("--list", action="store_true", help="list tasks that can be asked over chat, and those that "
                        "cannot")
    parser.add_argument("--limit", metavar="N", type=_count, help="only the first N questions of each task")
    parser.add_argument("--concurrency", metavar="N", type=_count, default=8, help="questions at a time (default: 8)")
    parser.add_argument("--compare", metavar="FILE", help="an earlier result: the difference, question by question; 1 "
                        "if it is worse")
    parser.add_argument("-o", "--out", metavar="FILE", help="write the result there, too, as JSON")


def _many(kind: Callable[[str], float]) -> Callable[[str], list[float]]:
    return lambda text: [kind(word.strip()) for word in text.split(",")]


def _number(text: str) -> int:
    if not text.isdecimal() or len(text) > 9:
        raise argparse.ArgumentTypeError(f"`{text}` is not a number")
    return int(text)


def _count(text: str) -> int:
    if (count := _number(text)) == 0:
        raise argparse.ArgumentTypeError("it must be 1 at least")
    return count


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0
    if not 0 < rate < 1e6:
        raise argparse.ArgumentTypeError(f"`{text}` is not a number above 0")
    return rate


def _share(text: str) -> float:
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = -1
    if not 0 <= share < 1:
        raise argparse.ArgumentTypeError(f"`{text}` is not a share such as 5%")
    return share


def _range(text: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    low, high = _count(first), _count(last if dash else first)
    if low > high or high > 10_000_000:
        raise argparse.ArgumentTypeError(f"`{text}` is not a number of tokens, or a range such as 64-256")
    return low, high
