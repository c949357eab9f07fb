"""TCP ports: find free ones, and say who holds the others."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

from lookalike_service.embedded.errors import PortTaken

__all__ = ["check_port", "free_ports", "is_free", "port_owner"]

_LISTEN = "0A"


def free_ports(count: int, *, host: str) -> list[int]:
    """Find distinct ports that nobody listens on right now.

    They are free when this returns and may be taken a moment later, so whoever binds them must be ready to
    try again.
    """
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in sockets:
            sock.bind((host, 0))
        return [int(sock.getsockname()[1]) for sock in sockets]


def is_free(port: int, *, host: str) -> bool:
    """Whether nobody listens on a port; one that was closed a moment ago counts as free."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, port))
        except OSError:
            return False
        return True


def check_port(port: int, *, host: str, purpose: str) -> None:
    """Raise PortTaken, with the name of the process that holds it where that can be seen, unless a port is free."""
    if not is_free(port, host=host):
        owner = port_owner(port)
        held = f" by {owner}" if owner else ""
        remedy = "stop that process, or choose another port (0 picks one)"
        raise PortTaken(f"port {port} for {purpose} is taken{held}; {remedy}")


def port_owner(port: int) -> str | None:
    """Name the process that listens on a port, as "tritonserver (process 4711)"; None when it cannot be seen."""
    inodes = _listening_inodes(port)
    for directory in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # the process ended, or belongs to somebody else
            if any(_inode(descriptor) in inodes for descriptor in (directory / "fd").iterdir()):
                name = (directory / "comm").read_text().strip()
                return f"{name} (process {directory.name})"
    return None


def _inode(descriptor: Path) -> str:
    with contextlib.suppress(OSError):
        target = os.readlink(descriptor)
        if target.startswith("socket:["):
            return target[len("socket:[") : -1]
    return ""


def _listening_inodes(port: int) -> set[str]:
    found = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        with contextlib.suppress(OSError):
            for line in table.read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                    found.add(fields[9])
    return found
