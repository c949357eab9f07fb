"""`python -m lookalike_service`: serve, or look after the catalog, as the environment says (see settings.py)."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from lookalike_service.errors import StartupError
from lookalike_service.maintenance import backup, migrate, restore, verify
from lookalike_service.server import run
from lookalike_service.settings import Settings
from lookalike_service.telemetry import configure_logging

DIFFERENT = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT, or run a command.

    0 when that went well, 1 with a sentence when it did not, 3 when `verify` has found differences and left them.
    """
    options = _parser().parse_args(arguments)
    try:
        settings = Settings()
        configure_logging(settings.log_level)
        match options.command:
            case "verify":
                return _verify(settings, options.catalog, repair=options.repair)
            case "migrate":
                print(asyncio.run(migrate(settings)))
            case "backup":
                print(asyncio.run(backup(settings, options.folder)))
            case "restore":
                print(asyncio.run(restore(settings, options.folder)))
            case _:
                asyncio.run(run(settings))
    except ValidationError as error:
        faults = "; ".join(f"LOOKALIKE_{str(fault['loc'][0]).upper()}: {fault['msg']}" for fault in error.errors())
        print(f"lookalike: {faults}", file=sys.stderr)
        return 1
    except StartupError as error:
        print(f"lookalike: {error}", file=sys.stderr)
        return 1
    return 0


def _verify(settings: Settings, catalogs: Sequence[str], *, repair: bool) -> int:
    reports = asyncio.run(verify(settings, catalogs, repair=repair))
    for report in reports:
        print(report.sentence())
        for example in report.examples:
            print(f"  {example}")
    return 0 if repair or not any(report.faults for report in reports) else DIFFERENT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lookalike_service", description="The gateway of Lookalike.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("serve", help="serve until SIGTERM or SIGINT (what happens without a command, too)")
    checking = commands.add_parser("verify", help="compare the index with the database, which may go on serving")
    checking.add_argument(
        "--repair", action="store_true", help="replay the outbox, and make the index hold what is right"
    )
    checking.add_argument("--catalog", action="append", default=[], metavar="ID", help="this catalog only; repeatable")
    commands.add_parser("migrate", help="bring the tables of the database up to date")
    for name, does in (
        ("backup", "save database and photographs"),
        ("restore", "fill an empty database from a backup"),
    ):
        commands.add_parser(name, help=does).add_argument("folder", type=Path, metavar="FOLDER")
    return parser


if __name__ == "__main__":
    sys.exit(main())
