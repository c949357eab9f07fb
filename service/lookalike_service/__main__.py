"""`python -m lookalike_service`: serve, or look after the catalog, as the environment says (see settings.py)."""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import sys
from collections.abc import Sequence

from lookalike_service import issuing
from lookalike_service.errors import StartupError
from lookalike_service.logs import configure_logging
from lookalike_service.maintenance import backup, duplicates, migrate, restore, verify
from lookalike_service.operating_arguments import build_parser
from lookalike_service.reindex_command import Wanted, reindex, wanted_of
from lookalike_service.server import run
from lookalike_service.settings import Settings, read_settings
from lookalike_service.workers import of_worker, serve

DIFFERENT = SOME_FAILED = 3
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None, *, program: str = "lookalike_service") -> int:
    """Serve until SIGTERM or SIGINT, or run a command.

    0 when that went well, 1 with a sentence when it did not, 3 when `verify` has found differences and left them, or
    `duplicates` some, or `bulk` products that failed.
    """
    options = build_parser(program).parse_args(arguments)
    try:
        settings = read_settings()
        configure_logging(settings.log_level, format=settings.log_format)
        match options.command:
            case "verify":
                return _verify(settings, options.catalog, repair=options.repair)
            case "bulk":
                return _bulk(settings, options)
            case "reindex":
                asyncio.run(reindex(settings, _wanted(options)))
            case "duplicates":
                return _duplicates(settings, options)
            case "migrate":
                print(asyncio.run(migrate(settings)))
            case "backup":
                print(asyncio.run(backup(settings, options.folder)))
            case "restore":
                print(asyncio.run(restore(settings, options.folder)))
            case "key":
                issuing.issue(options, settings.keys_file)
            case "worker":
                asyncio.run(run(of_worker(settings, options.number), shared_port=True))
            case _:
                asyncio.run(serve(settings) if settings.workers > 1 else run(settings))
    except StartupError as error:
        print(f"lookalike: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("lookalike: interrupted", file=sys.stderr)
        return INTERRUPTED
    return 0


def _verify(settings: Settings, catalogs: Sequence[str], *, repair: bool) -> int:
    reports = asyncio.run(verify(settings, catalogs, repair=repair))
    for report in reports:
        print(report.sentence())
        for example in report.examples:
            print(f"  {example}")
    return 0 if repair or not any(report.faults for report in reports) else DIFFERENT


def _duplicates(settings: Settings, options: argparse.Namespace) -> int:
    try:
        reports = asyncio.run(
            duplicates(
                settings, options.catalog, memory=options.memory, mirrored=options.mirrored, workers=options.workers
            )
        )
    except KeyboardInterrupt:
        print(f"lookalike: interrupted; run it again, {options.memory} has what was looked at", file=sys.stderr)
        return INTERRUPTED
    # Needs OpenCV, which the other commands do without.
    from lookalike_service.duplicates import as_csv, as_json

    if options.csv:
        print(as_csv(reports), end="")
    elif options.json:
        print(json.dumps(as_json(reports), indent=2))
    else:
        print("\n".join(line for report in reports for line in report.lines()))
    return DIFFERENT if any(report.groups for report in reports) else 0


def _bulk(settings: Settings, options: argparse.Namespace) -> int:
    # Needs packages that nothing else does.
    if missing := [name for name in ("pyarrow", "ray", "rich") if not importlib.util.find_spec(name)]:
        raise StartupError(f"bulk needs more packages: pip install 'lookalike[bulk]' (there is no {missing[0]})")
    from lookalike_service.bulk.command import bulk

    return SOME_FAILED if asyncio.run(bulk(settings, options)) else 0


def _wanted(options: argparse.Namespace) -> Wanted:
    return wanted_of(
        options.version,
        options.catalog,
        rollback=options.rollback,
        drop=options.drop,
        status=options.status,
        switch=not options.no_switch,
        leave_out=options.leave_out,
        without_old=options.without_old,
        at_once=options.at_once,
        sample=options.sample,
        least_overlap=options.least_overlap,
    )


if __name__ == "__main__":
    sys.exit(main())
