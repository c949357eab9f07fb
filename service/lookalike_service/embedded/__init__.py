"""The servers that production runs in containers, here as child processes of one machine."""

from __future__ import annotations

from lookalike_service.embedded.errors import (
    PackageMissing,
    PortTaken,
    RunDirectoryBusy,
    ServerFailed,
    SharedMemoryTooSmall,
)
from lookalike_service.embedded.triton import EmbeddedTriton

__all__ = [
    "EmbeddedTriton",
    "PackageMissing",
    "PortTaken",
    "RunDirectoryBusy",
    "ServerFailed",
    "SharedMemoryTooSmall",
]
