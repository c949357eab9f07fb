"""`python -m lookalike_service`: serve as the environment says (see settings.py)."""

from __future__ import annotations

import asyncio
import sys

from pydantic import ValidationError

from lookalike_service.errors import StartupError
from lookalike_service.server import run
from lookalike_service.settings import Settings
from lookalike_service.telemetry import configure_logging


def main() -> int:
    """Serve until SIGTERM or SIGINT; 0 when that went well, 1 with a sentence when it did not."""
    try:
        settings = Settings()
        configure_logging(settings.log_level)
        asyncio.run(run(settings))
    except ValidationError as error:
        faults = "; ".join(f"LOOKALIKE_{str(fault['loc'][0]).upper()}: {fault['msg']}" for fault in error.errors())
        print(f"lookalike: {faults}", file=sys.stderr)
        return 1
    except StartupError as error:
        print(f"lookalike: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
