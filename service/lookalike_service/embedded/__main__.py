"""`python -m lookalike_service.embedded`: the whole service on this machine until Ctrl-C, and commands to it."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from lookalike_service.embedded.control import ask
from lookalike_service.embedded.stack import MODEL_REPOSITORY, serve
from lookalike_service.errors import StartupError
from lookalike_service.logs import configure_logging
from lookalike_service.settings import read_settings


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
    parser.add_argument(
        "--model-config-name",
        default="",
        help="configs/NAME.pbtxt of the stages that have one; gpu: one NVIDIA GPU; int8: a CPU with VNNI",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    swapping = commands.add_parser("swap", help="exchange the detector of the stack that serves from --directory")
    swapping.add_argument("stage", help="detect, the only stage whose exchange leaves all vectors as they are")
    swapping.add_argument("model", type=Path, metavar="FILE", help="the new model, an ONNX file")
    arguments = parser.parse_args()
    if arguments.command == "swap":
        return _swap(arguments.directory / "run", arguments.stage, arguments.model)
    print(f"lookalike: starting; logs lie in {arguments.directory / 'run'}", file=sys.stderr)
    try:
        settings = read_settings()
        configure_logging(settings.log_level, format=settings.log_format)
        serve(
            arguments.directory,
            address=arguments.address,
            repository=arguments.repository,
            model_config_name=arguments.model_config_name,
        )
    except StartupError as error:
        print(f"lookalike: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _swap(run: Path, stage: str, model: Path) -> int:
    try:
        print(asyncio.run(ask(run, {"command": "swap", "stage": stage, "model": str(model.resolve())})))
    except StartupError as error:
        print(f"lookalike: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
