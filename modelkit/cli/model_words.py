"""The command line's words about models: what is fetched, made, kept, locked."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelkit.cli.parser import Subcommands

_FILE = "a Modelfile, or a folder that holds one (default: the Modelfile of this folder)"
_MODEL = "a model in the store: a reference, or the end of one"


def add_model_commands(commands: Subcommands) -> None:
    """Add all of them."""
    for add in (_lock, _build, _pull, _push, _list, _show, _compare, _convert, _verify, _rm, _gc, _sbom, _tool):
        add(commands)


def arg_flag(parser: argparse.ArgumentParser) -> None:
    """`--arg`, for commands that read a Modelfile's meaning."""
    parser.add_argument("--arg", metavar="NAME=VALUE", action="append", default=[],
                        help="the value of an ARG; may be repeated")


def lock_flags(parser: argparse.ArgumentParser) -> None:
    """`--locked` and `--frozen`, for commands that resolve a Modelfile's models."""
    arg_flag(parser)
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--locked", action="store_true", help="stop if the lock would have to change")
    group.add_argument("--frozen", action="store_true", help="use the lock as it is; whether it is up to date or not")


def _stages(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-s", "--stage", dest="stages", action="append", metavar="STAGE",
                        help="only this stage; may be repeated (default: all)")


def _lock(commands: Subcommands) -> None:
    parser = commands.add("lock", "lock", "write what every stage runs into the lock, by digest",
                          example="modelkit lock --check")
    parser.add_argument("file", metavar="FILE", nargs="?", help=_FILE)
    arg_flag(parser)
    parser.add_argument("--check", action="store_true", help="only say whether it is up to date, offline; 1 if not")
    parser.add_argument("--upgrade", action="store_true", help="take what references and engines mean now")


def _build(commands: Subcommands) -> None:
    parser = commands.add("build", "build", "make the weights of stages ahead of time, or write a stage's bundle",
                          example="modelkit build -s dev")
    parser.add_argument("file", metavar="FILE", nargs="?", help=_FILE)
    _stages(parser)
    parser.add_argument("-o", "--output", metavar="DIR", help="write what the stage's platform is given there (default "
                        "stage: prod)")
    lock_flags(parser)


def _pull(commands: Subcommands) -> None:
    parser = commands.add("pull", "pull", "bring models here", example="modelkit pull examples/quickstart")
    parser.add_argument("what", metavar="WHAT", nargs="*", help="references (`hf.co/org/repo:Q4_K_M`), or Modelfiles")
    _stages(parser)
    parser.add_argument("--refresh", action="store_true", help="ask again what a reference means that may move")
    lock_flags(parser)


def _push(commands: Subcommands) -> None:
    parser = commands.add("push", "push", "put a model into an OCI registry",
                          example="modelkit push ./model.gguf oci://127.0.0.1:5000/models/tiny:1")
    parser.add_argument("source", metavar="MODEL", help="a reference or a path")
    parser.add_argument("target", metavar="OCI", help="`oci://host/namespace/name:tag`")


def _list(commands: Subcommands) -> None:
    commands.add("list", "store", "list the models in the store", example="modelkit list")


def _show(commands: Subcommands) -> None:
    parser = commands.add("show", "store", "show a model in the store: facts, files, what was made from it",
                          example="modelkit show SmolLM2-135M-Instruct.Q4_1.gguf")
    parser.add_argument("model", metavar="MODEL", help=_MODEL)


def _compare(commands: Subcommands) -> None:
    parser = commands.add("compare", "compare", "say whether two models are one in two forms, from headers alone",
                          example="modelkit compare ./model.gguf hf.co/org/repo")
    parser.add_argument("left", metavar="MODEL", help="a reference or a path")
    parser.add_argument("right", metavar="OTHER", help="a reference or a path")


def _convert(commands: Subcommands) -> None:
    parser = commands.add("convert", "convert", "make another form of a model, or of a LoRA adapter",
                          example="modelkit convert ./model.gguf --to safetensors -o ./model")
    parser.add_argument("model", metavar="MODEL", help="a reference or a path")
    parser.add_argument("--to", choices=["gguf", "safetensors"], required=True, help="the form")
    parser.add_argument("--quantize", metavar="TYPE", help="the precision, as QUANTIZE takes it")
    parser.add_argument("--imatrix", metavar="FILE", help="an importance matrix, for GGUF types")
    parser.add_argument("--base", metavar="MODEL", help="MODEL is a LoRA adapter for this base")
    parser.add_argument("-o", "--output", metavar="PATH", help="have it there, too (default: in the store only)")


def _verify(commands: Subcommands) -> None:
    parser = commands.add("verify", "store", "read every byte of the store again; 1 if something is damaged",
                          example="modelkit verify")
    parser.add_argument("model", metavar="MODEL", nargs="?", help=_MODEL + " (default: everything)")


def _rm(commands: Subcommands) -> None:
    parser = commands.add("rm", "store", "remove models from the store, and what was made from them",
                          example="modelkit rm SmolLM2-135M-Instruct.Q4_1.gguf")
    parser.add_argument("models", metavar="MODEL", nargs="+", help=_MODEL)


def _gc(commands: Subcommands) -> None:
    parser = commands.add("gc", "store", "clear what nothing in the store needs any more", example="modelkit gc")
    parser.add_argument("--unused-for", type=float, default=30.0, metavar="DAYS",
                        help="clear made forms that were not used for so long (default: 30)")
    parser.add_argument("--derived", action="store_true", help="clear all made forms: they can be made again")


def _sbom(commands: Subcommands) -> None:
    parser = commands.add("sbom", "sbom", "print the lock as a CycloneDX bill of materials", example="modelkit sbom")
    arg_flag(parser)
    parser.add_argument("file", metavar="FILE", nargs="?", help=_FILE)
    _stages(parser)


def _tool(commands: Subcommands) -> None:
    parser = commands.add("tool", "tool", "install and list what converts, balances and evaluates",
                          example="modelkit tool list")
    parser.add_argument("action", choices=["install", "list"])
    parser.add_argument("tool", nargs="?", help="for install: quantizer, converter, compressor, balancer, lm-eval or "
                        "inspect")
    parser.add_argument("--reinstall", action="store_true", help="for install: make it anew")
