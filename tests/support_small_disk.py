"""Writes to a disk of two megabytes until it is full, then with room, then read-only; prints what became of it.

Runs in a mount namespace of its own (`unshare --map-root-user --mount`), so that nobody else sees the disk.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

from lookalike_service.errors import StartupError, StoreUnavailable
from lookalike_service.images import Images
from support_killed import lost, opened, write_for_ever


class Enough(Exception):
    """So much was written without a failure."""


def mounted(folder: Path, options: str, *, kind: str = "") -> None:
    """Mount a disk in memory, or change its options."""
    command = ["mount", *(["-t", kind, kind] if kind else []), "-o", options, str(folder)]
    subprocess.run(command, check=True)


async def written(folder: Path, acknowledged: dict[int, int], *, first: int, most: int) -> dict[str, Any]:
    """Write until something fails or `most` writes are acknowledged; what failed, and what is lost of all of it."""
    count, failures = 0, list[str]()
    catalog, store = await opened(folder)

    def note(number: int, round: int) -> None:
        nonlocal count
        acknowledged[number] = round
        count += 1
        if count >= most:
            raise Enough

    try:
        await write_for_ever(catalog, note, first=first)
    except* Enough:
        pass
    except* StoreUnavailable as group:
        failures = sorted({str(error) for error in group.exceptions})
    faults = await lost(acknowledged, store, Images(f"file://{folder}/images"))
    await store.close()
    return {"written": count, "failures": failures, "lost": faults}


async def refused(folder: Path) -> dict[str, Any]:
    """What is said of a disk that cannot be written."""
    sentences = []
    for attempt in (lambda: opened(folder), lambda: Images(f"file://{folder}/images").put(b"a photo")):
        try:
            await attempt()
        except (StartupError, StoreUnavailable) as error:
            sentences.append(str(error))
    return {"failures": sentences}


def main(folder: Path) -> None:
    """Go through all of it; each part is a process, since a disk with open files cannot be made read-only."""
    acknowledged: dict[str, int] = {}

    def part(name: str, *arguments: str) -> dict[str, Any]:
        command = [sys.executable, __file__, str(folder), name, json.dumps(acknowledged), *arguments]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        found: dict[str, Any] = json.loads(done.stdout)
        acknowledged.update(found.pop("acknowledged", {}))
        return found

    mounted(folder, "size=2m", kind="tmpfs")
    found = {"full": part("write", "1", "100000")}
    mounted(folder, "remount,size=64m")
    found["room"] = part("write", "100000", "200")
    mounted(folder, "remount,ro")
    found["read-only"] = part("refused")
    mounted(folder, "remount,rw")
    found["after"] = part("write", "200000", "50")
    with sqlite3.connect(folder / "catalog.db") as database:
        found["after"]["integrity"] = database.execute("PRAGMA integrity_check").fetchone()[0]
    print(json.dumps(found))


if __name__ == "__main__":
    match sys.argv[1:]:
        case [folder]:
            main(Path(folder))
        case [folder, "refused", _]:
            print(json.dumps(asyncio.run(refused(Path(folder)))))
        case [folder, "write", known, first, most]:
            noted = {int(number): round for number, round in json.loads(known).items()}
            outcome = asyncio.run(written(Path(folder), noted, first=int(first), most=int(most)))
            print(json.dumps({**outcome, "acknowledged": noted}))
