"""Tells the service manager that started this process that it is ready (sd_notify(3)); nothing elsewhere."""

from __future__ import annotations

import os
import socket
from contextlib import suppress


def tell_ready() -> None:
    """`READY=1` to the socket that `NOTIFY_SOCKET` names, once: what is started later does not speak for us."""
    address = os.environ.pop("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
        sending.connect(address.replace("@", "\0", 1) if address.startswith("@") else address)
        sending.send(b"READY=1")
