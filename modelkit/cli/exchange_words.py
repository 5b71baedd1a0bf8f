"""The command line's words about other programs' files."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from modelkit.cli.model_words import arg_flag

if TYPE_CHECKING:
    from modelkit.cli.parser import Subcommands

FORMATS = ("ollama", "vllm", "llama-server", "compose", "llama-swap", "lmstudio")


def add_exchange_commands(commands: Subcommands) -> None:
    """Add both."""
    _import(commands)
    _export(commands)


def _import(commands: Subcommands) -> None:
    parser = commands.add("import", "exchange", "make a Modelfile of another program's file, and say what does not fit",
                          example="modelkit import vllm -- vllm serve Qwen/Qwen3-8B --max-model-len 8k")
    parser.add_argument("format", choices=FORMATS, help="whose file it is")
    parser.add_argument("source", metavar="SOURCE", nargs="*", default=[],
                        help="the file, or `-` for stdin; for vllm and llama-server also the command line itself, "
                        "after `--`")
    parser.add_argument("--model", metavar="KEY", help="which of the models, where the file has several")
    parser.add_argument("--name", help="the model name that clients send (default: the source's own)")
    _written(parser, "the Modelfile, or `DIR/` for one of every model (default: stdout)")


def _export(commands: Subcommands) -> None:
    parser = commands.add("export", "exchange", "write another program's file from a Modelfile, and say what it lacks",
                          example="modelkit export ollama -s dev Modelfile")
    parser.add_argument("format", choices=FORMATS, help="whose file to write")
    parser.add_argument("files", metavar="FILE", nargs="*", default=[],
                        help="Modelfiles, or folders that hold one (default: the Modelfile of this folder); compose "
                        "and llama-swap take several")
    parser.add_argument("-s", "--stage", help="the stage (default: $MODELKIT_STAGE, else prod for vllm and dev for the "
                        "others)")
    arg_flag(parser)
    _written(parser, "the file (default: stdout)")


def _written(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("-o", "--output", metavar="PATH", help=f"write it there: {what}")
    parser.add_argument("--force", action="store_true", help="replace what is there")
    parser.add_argument("--strict", action="store_true", help="1 if something is lost")
