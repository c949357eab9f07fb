"""`python -m lookalike_service.embedded`: the whole service on this machine until Ctrl-C."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from lookalike_service.embedded.stack import MODEL_REPOSITORY, serve
from lookalike_service.errors import StartupError
from lookalike_service.telemetry import configure_logging


def main() -> int:
    """Serve; 0 when stopped on request, 1 with a sentence when it could not start."""
    parser = argparse.ArgumentParser(prog="lookalike_service.embedded", description=__doc__)
    parser.add_argument(
        "--directory", type=Path, default=Path(".lookalike"), help="keeps catalog, vectors, images and logs"
    )
    parser.add_argument(
        "--address", default="127.0.0.1:50051", help="host:port of the gateway; port 0 takes a free one"
    )
    parser.add_argument("--repository", type=Path, default=MODEL_REPOSITORY, help="Triton's model repository")
    arguments = parser.parse_args()
    configure_logging(os.environ.get("LOOKALIKE_LOG_LEVEL", "INFO"))
    print(f"lookalike: starting; logs lie in {arguments.directory / 'run'}", file=sys.stderr)
    try:
        serve(arguments.directory, address=arguments.address, repository=arguments.repository)
    except StartupError as error:
        print(f"lookalike: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
