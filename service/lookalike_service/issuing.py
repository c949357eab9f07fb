"""`python -m lookalike_service key`: a new API key, and its entry in the file of keys."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lookalike_service.callers import Right
from lookalike_service.errors import StartupError
from lookalike_service.keys import hashed, new_key, parsed_keys

__all__ = ["add_arguments", "issue"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command understands."""
    parser.add_argument("id", metavar="ID", help="what logs and quotas call the key: a-z, 0-9 and -")
    parser.add_argument(
        "--catalog", action="append", required=True, metavar="ID", help="a catalog it opens, * for all; repeatable"
    )
    parser.add_argument("--right", action="append", required=True, choices=[*Right], help="what it is for; repeatable")
    parser.add_argument("--days", type=float, metavar="N", help="ends after so many days; never, without it")
    parser.add_argument("--requests-per-second", type=float, metavar="N", help="quota; 0 is none")
    parser.add_argument("--photos-at-once", type=int, metavar="N", help="quota; 0 is none")
    parser.add_argument(
        "--print", action="store_true", help="print the entry instead of adding it to the file, and the key beside it"
    )


def issue(options: argparse.Namespace, file: str) -> None:
    """Make a key, print it this one time, and add its entry to the file of keys. Raises StartupError."""
    key = new_key(options.id)
    entry = _entry(options, key)
    if options.print:
        parsed_keys(entry, Path("keys.toml"))
        print(entry)
        print(key, file=sys.stderr)
        return
    if not file:
        raise StartupError("LOOKALIKE_KEYS_FILE does not say which file the key shall go into; set it, or use --print")
    path = Path(file)
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    content = f"{before.rstrip()}\n\n{entry}\n".lstrip()
    parsed_keys(content, path)
    _replace(path, content)
    print(key)
    print(
        f"added {options.id} to {path}, which a running gateway has read by its next call; the key is shown only now",
        file=sys.stderr,
    )


def _entry(options: argparse.Namespace, key: str) -> str:
    lines = [
        "[[keys]]",
        f"id = {json.dumps(options.id)}",
        f'sha256 = "{hashed(key)}"',
        f"catalogs = {json.dumps(options.catalog)}",
        f"rights = {json.dumps(options.right)}",
    ]
    if options.days is not None:
        expires = datetime.now(UTC) + timedelta(days=options.days)
        lines.append(f"expires = {expires.isoformat(timespec='seconds')}")
    for name in ("requests_per_second", "photos_at_once"):
        if (value := getattr(options, name)) is not None:
            lines.append(f"{name} = {value}")
    return "\n".join(lines)


def _replace(path: Path, content: str) -> None:
    """Put a file in the place of another one, whole. It holds no secrets, so whoever runs the gateway may read it."""
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_text(content, encoding="utf-8")
        part.rename(path)
    except OSError as error:
        raise StartupError(f"{path} cannot be written ({error.strerror or error})") from error
