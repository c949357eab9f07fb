"""Where catalogs and images lie: paths of this machine, and addresses."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urljoin, urlsplit

__all__ = ["Location", "LocationInvalid", "describe", "is_address", "protocol_of", "resolve", "stem_of", "suffix_of"]

Location = Path | str
"""A path of this machine, or an address with its protocol."""

# Those whose addresses name one object of a store. What reads local files, unpacks archives or chains several
# (`zip::`, `git://`) is left out: catalogs may come from somebody else.
PROTOCOLS = ("http", "https", "s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "memory")


class LocationInvalid(ValueError):
    """The text names no place that may be read; it says why."""


def is_address(text: str) -> bool:
    """Whether the text begins with a protocol, as `https://` does."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.:-]*://", text) is not None


def protocol_of(address: str) -> str:
    """The part before `://`, in lower case. Raises LocationInvalid for one that is not read."""
    protocol = address.partition("://")[0].lower()
    if protocol not in PROTOCOLS:
        raise LocationInvalid(
            f"addresses of {protocol}:// are not read; there are http, https, s3, gs and az, or copy the file here"
        )
    return protocol


def resolve(reference: str, *, base: Location) -> Location:
    """The place that a catalog means by `reference`.

    `base` is the folder of a local catalog, or the address of the catalog file (of a folder: with a `/` at its end).
    Raises LocationInvalid, also for a local file in a catalog that came from an address.
    """
    if is_address(reference):
        protocol_of(reference)
        return reference
    if isinstance(base, Path):
        return base / reference
    if base.lower().startswith(("http://", "https://")):
        joined = urljoin(base, reference)
        if not joined.lower().startswith(("http://", "https://")):
            raise LocationInvalid(f"{reference} is neither a relative path nor an address")
        return joined
    return _joined(base, reference)


def _joined(base: str, reference: str) -> str:
    protocol, _, rest = base.partition("://")
    bucket, *folders = rest.split("/")[:-1] or [rest]
    parts = [] if reference.startswith("/") else folders
    for part in reference.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts = [*parts, part]
    return f"{protocol}://{'/'.join([bucket, *parts])}"


def _path(location: Location) -> PurePosixPath:
    return PurePosixPath(location if isinstance(location, Path) else unquote(urlsplit(location).path))


def suffix_of(location: Location) -> str:
    """`.csv` of `products.CSV` and of `https://shop.example/products.csv?v=2`."""
    return _path(location).suffix.lower()


def stem_of(location: Location) -> str:
    """`products` of `products.csv`; of a folder its name."""
    return _path(location).stem or "products"


def describe(location: Location) -> str:
    """The place for people: of an address without what may be secret (password, signature)."""
    if isinstance(location, Path):
        return str(location)
    parts = urlsplit(location)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
