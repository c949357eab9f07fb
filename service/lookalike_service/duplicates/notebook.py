"""What earlier runs have seen, in a file of its own, so that the next one looks at nothing but new photos."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lookalike_service.duplicates.fingerprints import FORMAT
from lookalike_service.errors import StartupError
from lookalike_service.model import Box

__all__ = ["Notebook", "Pair", "Photo"]

logger = logging.getLogger(__name__)

# Tells our files from other people's ("LKDP").
MARK: Final = 0x4C4B4450
TABLES: Final = """
CREATE TABLE fingerprints (photo TEXT PRIMARY KEY, content BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE shelved (catalog TEXT, photo TEXT, mirrored INTEGER, PRIMARY KEY (catalog, photo, mirrored)) WITHOUT ROWID;
CREATE TABLE pairs (
    one TEXT, other TEXT, mirrored INTEGER, different REAL, same INTEGER,
    PRIMARY KEY (one, other, mirrored)) WITHOUT ROWID;
CREATE INDEX unjudged ON pairs (one) WHERE same IS NULL;
CREATE INDEX found ON pairs (one) WHERE same = 1;
"""
# Of this run alone: what the catalog of record says now.
PRESENT: Final = """
CREATE TEMP TABLE shown (photo TEXT, product TEXT, x0 REAL, y0 REAL, x1 REAL, y1 REAL, PRIMARY KEY (photo, product))
    WITHOUT ROWID;
"""
HERE: Final = "photo IN (SELECT photo FROM shown)"
# The plus keeps SQLite from trying every photo with every other one; which pairs there are, the partial indexes know.
BOTH_HERE: Final = "+one IN (SELECT photo FROM shown) AND +other IN (SELECT photo FROM shown)"
UNJUDGED: Final = f"FROM pairs INDEXED BY unjudged WHERE same IS NULL AND {BOTH_HERE}"
FOUND: Final = f"FROM pairs INDEXED BY found WHERE same = 1 AND mirrored <= ? AND {BOTH_HERE}"


@dataclass(frozen=True, slots=True)
class Photo:
    """A photograph, by its SHA-256, of a product; `box` is where it shows the garment."""

    sha256: str
    product: str
    box: Box


@dataclass(frozen=True, slots=True)
class Pair:
    """Two photographs that may be the same picture, or are; the lesser SHA-256 is `one`."""

    one: str
    other: str
    mirrored: bool
    different: float = 1.0


class Notebook:
    """A SQLite file; one run at a time uses it. Every method raises StartupError when it cannot be read or written."""

    def __init__(self, path: Path) -> None:
        """Open or make it; one of an older format is begun anew, one of a newer format is refused."""
        self._path = path
        with self._failing_clearly():
            self._database = sqlite3.connect(path, timeout=1.0, isolation_level=None, check_same_thread=False)
            self._database.execute("PRAGMA locking_mode=EXCLUSIVE")
            self._database.execute("PRAGMA synchronous=NORMAL")
            with self._transaction():
                self._prepare()
            self._database.executescript(PRESENT)

    def _prepare(self) -> None:
        mark, version = (self._one(f"PRAGMA {name}") for name in ("application_id", "user_version"))
        tables = [str(name) for (name,) in self._database.execute("SELECT name FROM sqlite_master WHERE type='table'")]
        if tables and mark != MARK:
            raise StartupError(f"{self._path} is another program's database; name a file of its own with --memory")
        if version > FORMAT:
            raise StartupError(f"{self._path} was written by a newer program; use that, or name another with --memory")
        if tables and version == FORMAT:
            return
        if tables:
            logger.warning("%s has fingerprints of an older format; every photo is looked at anew", self._path)
        for name in tables:
            self._database.execute(f"DROP TABLE {name}")
        for statement in TABLES.split(";")[:-1]:
            self._database.execute(statement)
        self._database.execute(f"PRAGMA application_id={MARK}")
        self._database.execute(f"PRAGMA user_version={FORMAT}")

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def forget_shown(self) -> None:
        """Begin with another catalog."""
        self._run("DELETE FROM shown")

    def show(self, photos: Iterable[Photo]) -> None:
        """Note what the catalog of record says; of several views of one photo by one product the first counts."""
        rows = ((it.sha256, it.product, it.box.x0, it.box.y0, it.box.x1, it.box.y1) for it in photos)
        self._many("INSERT OR IGNORE INTO shown VALUES (?, ?, ?, ?, ?, ?)", rows)

    def photos(self) -> int:
        """How many photographs the catalog shows, each counted once."""
        return self._one("SELECT count(DISTINCT photo) FROM shown")

    def unseen(self) -> list[str]:
        """The photographs without a fingerprint."""
        return self._names("SELECT DISTINCT photo FROM shown WHERE photo NOT IN (SELECT photo FROM fingerprints)")

    def add_fingerprints(self, fingerprints: Iterable[tuple[str, bytes]]) -> None:
        """Keep fingerprints by their photographs."""
        self._many("INSERT OR REPLACE INTO fingerprints VALUES (?, ?)", fingerprints)

    def fingerprints(self) -> Iterator[tuple[str, bytes]]:
        """Those of the catalog's photographs, in the order of these."""
        with self._failing_clearly():
            yield from self._database.execute(f"SELECT photo, content FROM fingerprints WHERE {HERE} ORDER BY photo")

    def fingerprint(self, photo: str) -> bytes:
        """One that is there."""
        with self._failing_clearly():
            row = self._database.execute("SELECT content FROM fingerprints WHERE photo = ?", (photo,)).fetchone()
        return bytes(row[0])

    def unshelved(self, catalog: str, *, mirrored: bool) -> set[str]:
        """The photographs with a fingerprint whose neighbours nobody has looked for."""
        query = f"""SELECT photo FROM fingerprints WHERE {HERE} AND photo NOT IN
            (SELECT photo FROM shelved WHERE catalog = ? AND mirrored = ?)"""
        return set(self._names(query, catalog, mirrored))

    def add_pairs(self, catalog: str, photos: Iterable[str], pairs: Iterable[Pair], *, mirrored: bool) -> None:
        """Note in one step that these photographs' neighbours were looked for, and the pairs that must be judged."""
        with self._failing_clearly(), self._transaction():
            self._database.executemany(
                "INSERT OR IGNORE INTO pairs (one, other, mirrored) VALUES (?, ?, ?)",
                ((pair.one, pair.other, pair.mirrored) for pair in pairs),
            )
            self._database.executemany(
                "INSERT OR IGNORE INTO shelved VALUES (?, ?, ?)", ((catalog, photo, mirrored) for photo in photos)
            )

    def unjudged(self) -> int:
        """How many pairs of the catalog wait for a judgement."""
        return self._one(f"SELECT count(*) {UNJUDGED}")

    def next_unjudged(self, count: int) -> list[Pair]:
        """Some of them, those of one photograph together."""
        query = f"SELECT one, other, mirrored {UNJUDGED} ORDER BY one LIMIT ?"
        with self._failing_clearly():
            return [Pair(one, other, bool(how)) for one, other, how in self._database.execute(query, (count,))]

    def judge(self, judged: Sequence[tuple[Pair, bool]]) -> None:
        """Keep what was found about pairs."""
        rows = ((pair.different, same, pair.one, pair.other, pair.mirrored) for pair, same in judged)
        self._many("UPDATE pairs SET different = ?, same = ? WHERE one = ? AND other = ? AND mirrored = ?", rows)

    def same(self, *, mirrored: bool) -> list[Pair]:
        """The pairs of the catalog that are the same picture, those of mirrored ones only when asked for."""
        query = f"SELECT one, other, mirrored, different {FOUND} ORDER BY one, other"
        with self._failing_clearly():
            return [
                Pair(one, other, bool(how), different)
                for one, other, how, different in self._database.execute(query, (mirrored,))
            ]

    def shared(self) -> list[str]:
        """The photographs that several products show."""
        return self._names("SELECT photo FROM shown GROUP BY photo HAVING count(*) > 1 ORDER BY photo")

    def shown_by(self, photo: str) -> list[Photo]:
        """The products that show a photograph."""
        query = "SELECT product, x0, y0, x1, y1 FROM shown WHERE photo = ? ORDER BY product"
        with self._failing_clearly():
            return [Photo(photo, product, Box(*box)) for product, *box in self._database.execute(query, (photo,))]

    def _run(self, statement: str) -> None:
        with self._failing_clearly():
            self._database.execute(statement)

    def _many(self, statement: str, rows: Iterable[Sequence[object]]) -> None:
        with self._failing_clearly(), self._transaction():
            self._database.executemany(statement, rows)

    def _one(self, query: str) -> int:
        with self._failing_clearly():
            return int(self._database.execute(query).fetchone()[0])

    def _names(self, query: str, *values: object) -> list[str]:
        with self._failing_clearly():
            return [str(name) for (name,) in self._database.execute(query, values)]

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    @contextmanager
    def _failing_clearly(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            why = "another run uses it" if "locked" in str(error) else str(error)
            raise StartupError(
                f"the memory {self._path} cannot be used ({why}); wait for the other run, make room, or name another "
                "file with --memory"
            ) from error
