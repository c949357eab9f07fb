"""Serve a Milvus Lite folder over gRPC until SIGTERM. Run as a script: `lite_server.py DATA_DIRECTORY HOST PORT`."""

from __future__ import annotations

import signal
import sys
from types import FrameType


def main(arguments: list[str]) -> int:
    """Serve; returns when told to end, with the folder closed."""
    from milvus_lite.adapter.grpc.server import run_server

    def end(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)
    directory, host, port = arguments
    # Lite's writes to one collection must not run at the same time; it is Python, so more threads gain nothing.
    run_server(directory, host=host, port=int(port), max_workers=1)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
