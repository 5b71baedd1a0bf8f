"""The command line's words for whom to ask; `targets` reads them."""

from __future__ import annotations

import argparse

_FILE = "a Modelfile, or a folder that holds one (default: the Modelfile of this folder)"


def add_words(parser: argparse.ArgumentParser, *, file: bool = True, stage: bool = True) -> None:
    """`-f`, `-s`, `--url`, `--model`, `--api-key-env`; `file` adds the FILE that stands without `-f`, too."""
    if file:
        parser.add_argument("file", metavar="FILE", nargs="?", default=argparse.SUPPRESS, help=_FILE)
    parser.add_argument("-f", "--file", dest="file", metavar="FILE", help="the same" if file else _FILE)
    if stage:
        parser.add_argument("-s", "--stage", help="ask the engine of this stage that runs here, routed or not; "
                            "with --url, the stage that is there (default: $MODELKIT_STAGE, else what serves)")
        parser.add_argument("--url", help="ask this OpenAI endpoint instead, such as http://host:8000/v1")
    parser.add_argument("--model", metavar="NAME", help="the model's name at --url (default: the Modelfile's NAME)")
    parser.add_argument("--api-key-env", metavar="NAME", help="the environment variable that holds the key for --url "
                        "(default: MODELKIT_API_KEY)")
