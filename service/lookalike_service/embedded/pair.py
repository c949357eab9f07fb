"""Two places for the embedded Triton: while one server answers, another one can start beside it and take over."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from lookalike_service.embedded.triton import EmbeddedTriton

__all__ = ["TritonPair"]

logger = logging.getLogger(__name__)


class TritonPair:
    """One Triton at a time, except while they change over; whoever knows `address` finds the one that is there.

    Photos that are with the old server when it goes are sent to the new one by the gateway, so it is ended at once:
    a server that drains would refuse new photos for as long. Its methods block.
    """

    def __init__(self, repository: Path, *, run_directory: Path, **options: Any) -> None:  # noqa: ANN401
        """`options` are those of EmbeddedTriton."""
        self._now = EmbeddedTriton(repository, run_directory=run_directory, **options)
        self._other = EmbeddedTriton(repository, run_directory=run_directory.with_name("triton-2"), **options)

    @property
    def repository(self) -> Path:
        """Triton's model repository."""
        return self._now.repository

    @property
    def address(self) -> str:
        """Both places of gRPC, as a target of gRPC: the first one where somebody listens is taken."""
        return "ipv4:" + ",".join(sorted((self._now.grpc_address, self._other.grpc_address)))

    @property
    def running(self) -> bool:
        """Whether the server in use is alive."""
        return self._now.running

    @property
    def exit_status(self) -> int | None:
        """How the server in use ended; None while it is alive."""
        return self._now.exit_status

    def start(self) -> None:
        """Start the server in use; see EmbeddedTriton."""
        self._now.start()
        self._other.choose_address()

    def exchange(self) -> None:
        """Start another server from the same files, and let it take over. Raises StartupError; the old one stays."""
        self._other.start()
        self._now, self._other = self._other, self._now
        logger.info("another Triton answers now at %s", self._now.grpc_address)
        self._other.kill()
        self._other.stop()

    def dead_models(self) -> set[str]:
        """Models of the server in use that have lost a process."""
        return self._now.dead_models()

    def kill(self) -> None:
        """End the server in use at once."""
        self._now.kill()

    def stop(self) -> None:
        """End both."""
        for triton in (self._now, self._other):
            triton.stop()
