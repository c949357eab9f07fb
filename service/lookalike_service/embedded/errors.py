"""Why the embedded servers could not start; each text says what to do about it.

StartupError (of the service)
├── PackageMissing         a wheel or a library is not installed, or of the wrong version
├── PortTaken              somebody else listens there
├── SharedMemoryTooSmall   /dev/shm is too small for Triton's Python backend
├── RunDirectoryBusy       another embedded stack uses the same directory
└── ServerFailed           the server ended or did not become ready in time; quotes its log
"""

from __future__ import annotations

from lookalike_service.errors import StartupError

__all__ = ["PackageMissing", "PortTaken", "RunDirectoryBusy", "ServerFailed", "SharedMemoryTooSmall"]


class PackageMissing(StartupError):
    """A wheel or a library is not installed, or of the wrong version."""


class PortTaken(StartupError):
    """Somebody else listens on the port."""


class SharedMemoryTooSmall(StartupError):
    """Triton's Python backend moves tensors through /dev/shm, and there is not enough of it."""


class RunDirectoryBusy(StartupError):
    """Another embedded stack uses the same run directory."""


class ServerFailed(StartupError):
    """The server ended or did not become ready in time."""
