"""systemd's way to say that a service is ready: a datagram to the socket that NOTIFY_SOCKET names (sd_notify(3))."""

from __future__ import annotations

import contextlib
import os
import socket

__all__ = ["notify"]

VARIABLE = "NOTIFY_SOCKET"


def notify(state: str) -> None:
    """Send `READY=1` or `STOPPING=1` to whoever started us and wants to know; nobody else hears it."""
    path = os.environ.get(VARIABLE, "")
    if not path:
        return
    # A leading @ is an abstract address.
    address = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender, contextlib.suppress(OSError):
        sender.sendto(state.encode(), address)
