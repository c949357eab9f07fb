"""What `python -m lookalike_service` understands, and `lookalike` where the server is, and the help that teaches it."""

from __future__ import annotations

import argparse
from pathlib import Path

from lookalike_service import issuing
from lookalike_service.bulk.arguments import add_bulk

__all__ = ["build_parser"]

Commands = argparse._SubParsersAction  # the only name that argparse gives it

ENVIRONMENT = """
It reads the environment of a gateway (LOOKALIKE_DATABASE_URL, LOOKALIKE_MILVUS_URI, ...), and needs none to run."""
VERIFY_HELP = f"""\
Compares the index with the database, the catalog of record: are all views there, are there none too many, of the right
revisions? Gateways may go on serving.
{ENVIRONMENT}"""
VERIFY_EXAMPLES = """\
  lookalike verify                       say what differs, change nothing
  lookalike verify --repair              replay the outbox, and make the index hold what is right
  lookalike verify --catalog summer

exit codes: 0 nothing differs, or it was repaired; 1 it could not be done (the sentence says why), 2 wrong usage,
3 something differs"""
REINDEX_HELP = f"""\
Brings catalogs to another embedding version, while the old one serves: fills its collection beside the old one,
compares both, and switches when the new one is complete. The old version stays until it is dropped, so that a rollback
takes a moment. Interrupt it when you like; the same command goes on from there.
{ENVIRONMENT}"""
REINDEX_EXAMPLES = """\
  lookalike reindex --status             which versions are there, and how far are they?
  lookalike reindex 2                    fill version 2, check it, switch
  lookalike reindex 2 --no-switch        fill and check it only; the same without --no-switch switches
  lookalike reindex --rollback           back to the version that served before
  lookalike reindex --drop 1             throw version 1 away

exit codes: 0 done, 1 it could not be done (the sentence says why), 2 wrong usage, 130 interrupted"""
DUPLICATES_HELP = """\
Finds the same picture under two products, also when it was cropped, scaled, encoded again or marked with a logo. Reads
the database and the photographs, while the gateway may go on serving; neither index nor models are needed. After an
interruption, and whenever there are new photos, run it again: it looks only at those."""
DUPLICATES_EXAMPLES = """\
  lookalike duplicates
  lookalike duplicates --mirrored --csv > duplicates.csv
  lookalike duplicates --catalog summer --json | jq .

exit codes: 0 there are none, 1 it could not be done (the sentence says why), 2 wrong usage, 3 there are some,
130 interrupted"""


def build_parser(program: str) -> argparse.ArgumentParser:
    """The parser; each command sets `command`."""
    parser = argparse.ArgumentParser(prog=program, description="The gateway of Lookalike, and what looks after it.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("serve", help="serve until SIGTERM or SIGINT (what happens without a command, too)")
    # Started by workers.py.
    commands.add_parser("worker").add_argument("number", type=int)
    _add_verify(commands)
    add_bulk(commands)
    _add_reindex(commands)
    _add_duplicates(commands)
    commands.add_parser("migrate", help="bring the tables of the database up to date")
    for name, does in (
        ("backup", "save database and photographs"),
        ("restore", "fill an empty database from a backup"),
    ):
        commands.add_parser(name, help=does).add_argument("folder", type=Path, metavar="FOLDER")
    issuing.add_arguments(commands.add_parser("key", help="make an API key, and add it to LOOKALIKE_KEYS_FILE"))
    return parser


def _add(
    commands: Commands[argparse.ArgumentParser], name: str, summary: str, *, description: str, examples: str
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        prog=f"lookalike {name}",
        help=summary,
        description=description,
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _add_verify(commands: Commands[argparse.ArgumentParser]) -> None:
    summary = "compare the index with the database, which may go on serving"
    parser = _add(commands, "verify", summary, description=VERIFY_HELP, examples=VERIFY_EXAMPLES)
    parser.add_argument(
        "--repair", action="store_true", help="replay the outbox, and make the index hold what is right"
    )
    parser.add_argument("--catalog", action="append", default=[], metavar="ID", help="this catalog only; repeatable")


def _add_reindex(commands: Commands[argparse.ArgumentParser]) -> None:
    summary = "bring catalogs to another embedding version, while the old one serves, and switch"
    parser = _add(commands, "reindex", summary, description=REINDEX_HELP, examples=REINDEX_EXAMPLES)
    parser.add_argument("version", nargs="?", type=_positive, metavar="VERSION", help="the embedding version to go to")
    parser.add_argument("--status", action="store_true", help="show the versions of each catalog, and change nothing")
    parser.add_argument("--rollback", action="store_true", help="switch back to the version that served before")
    parser.add_argument("--drop", type=_positive, default=0, metavar="VERSION", help="throw a version away")
    parser.add_argument("--catalog", action="append", default=[], metavar="ID", help="this catalog only; repeatable")
    parser.add_argument("--no-switch", action="store_true", help="fill and check, but let the old one serve")
    parser.add_argument("--leave-out", action="store_true", help="switch without the products that cannot be embedded")
    parser.add_argument("--without-old", action="store_true", help="the model that serves is lost: go on without it")
    parser.add_argument("--at-once", type=_positive, default=8, metavar="N", help="products embedded at once (8)")
    parser.add_argument("--sample", type=_positive, default=200, metavar="N", help="products to compare by (200)")
    parser.add_argument(
        "--least-overlap", type=float, default=0.02, metavar="SHARE", help="of the ten nearest, else no switch (0.02)"
    )


def _add_duplicates(commands: Commands[argparse.ArgumentParser]) -> None:
    summary = "find the same picture under two products"
    parser = _add(commands, "duplicates", summary, description=DUPLICATES_HELP, examples=DUPLICATES_EXAMPLES)
    parser.add_argument("--catalog", action="append", default=[], metavar="ID", help="this catalog only; repeatable")
    parser.add_argument(
        "--memory", type=Path, default=Path("lookalike-duplicates.db"), metavar="FILE",
        help="where it keeps what it has looked at, about 16 KB a photo (lookalike-duplicates.db)",
    )  # fmt: skip
    parser.add_argument("--mirrored", action="store_true", help="count mirror images, too")
    parser.add_argument("--workers", type=int, default=0, metavar="N", help="threads (one per core)")
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument("--json", action="store_true", help="print JSON")
    forms.add_argument("--csv", action="store_true", help="print CSV, one row per pair of photos")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return number
