"""`--sign KEY`: records are signed by whoever writes them."""

from __future__ import annotations

import argparse
from pathlib import Path

from modelkit.failure import Failure


def sign_word(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sign", metavar="KEY", help="sign the record with this SSH key")


def key_of(arguments: argparse.Namespace) -> Path | None:
    """The key's file. Raises Failure, before anything is done, when it is not there."""
    if not arguments.sign:
        return None
    key = Path(arguments.sign).expanduser()
    if not key.is_file():
        raise Failure("no-key", f"{arguments.sign} does not exist", hint="--sign takes the file of an SSH key")
    return key


def signed(record: Path | str, key: Path | None) -> Path | None:
    """Sign a record that was written, where there is a key; the signature's path. Raises Failure when it can't be."""
    if key is None:
        return None
    from modelkit.release import signature

    return signature.sign(Path(record), key)
