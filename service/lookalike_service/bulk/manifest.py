"""What a folder of a bulk load holds, so that vectors of two catalogs or two versions never mix."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Final, Self

from lookalike_service.bulk.folder import Folder
from lookalike_service.errors import StartupError

__all__ = ["Manifest", "plan_name", "read_manifest", "vectors_name", "write_manifest"]

FORMAT: Final = "lookalike-bulk-1"
NAME: Final = "manifest.json"
PLAN: Final = "plan"


def plan_name(part: int) -> str:
    """The file with the products of a part as the catalog has them."""
    return f"{PLAN}/part-{part:06d}.parquet"


def vectors_name(part: int) -> str:
    """The file with the products of a part as they are to be stored, vectors included."""
    return f"vectors/part-{part:06d}.parquet"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What was planned: `digest` tells one state of a catalog file from any other.

    `products` can be embedded, `unusable` rows cannot; `parts` hold `part_products` products each.
    """

    catalog: str
    source: str
    digest: str
    products: int
    unusable: int
    part_products: int
    parts: int
    embedding_version: int
    embedding_size: int
    format: str = FORMAT

    @property
    def owner(self) -> bytes:
        """What every file of vectors carries, so that none of another folder is taken for one of this."""
        return f"{self.digest} {self.embedding_version}".encode()

    def refuse_others(self, *, catalog: str, embedding_version: int, wanted_by: str) -> None:
        """Raises StartupError unless the folder is for this catalog of the server and this version of the vectors.

        `wanted_by` is what asks for the version.
        """
        if self.catalog != catalog:
            raise self._other(f"products for the catalog {self.catalog!r}, and they are to go to {catalog!r}")
        if self.embedding_version != embedding_version:
            raise self._other(
                f"vectors of embedding version {self.embedding_version}, and {wanted_by} wants those of version "
                f"{embedding_version}"
            )

    def refuse_changed(self, source: str, digest: str) -> None:
        """Raises StartupError unless the catalog file says what it said when the folder was begun."""
        if self.digest != digest:
            raise self._other(f"the vectors of {self.source}, and {source} is another catalog or has changed since")

    def _other(self, what: str) -> StartupError:
        return StartupError(f"the folder holds {what}; name another folder with --out, or remove this one")

    @classmethod
    def parsed(cls, content: bytes) -> Self:
        """Raises ValueError, TypeError when it is none."""
        fields = json.loads(content)
        if not isinstance(fields, dict) or fields.get("format") != FORMAT:
            raise ValueError("of another format")
        return cls(**fields)


def read_manifest(folder: Folder) -> Manifest | None:
    """What was planned in a folder; None in a new one. Raises StartupError for a folder of something else."""
    content = folder.read(NAME)
    if content is None:
        # Planning that was cut short leaves files, which the next one replaces.
        if strangers := folder.names() - {PLAN}:
            raise StartupError(
                f"the folder {folder.url} holds {min(strangers)} and no {NAME}, so it is none of lookalike bulk; "
                "--out names an empty or a new one"
            )
        return None
    try:
        return Manifest.parsed(content)
    except (ValueError, TypeError) as error:
        raise StartupError(
            f"{NAME} in {folder.url} is damaged or of another program; name another folder with --out"
        ) from error


def write_manifest(folder: Folder, manifest: Manifest) -> None:
    """Say that a folder is planned. Raises StartupError."""
    folder.write(NAME, json.dumps(asdict(manifest), indent=2).encode())
