"""Whatever text comes as a token, a name or a key, it is read or refused, and nothing altered is taken for our own."""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

MODULES = ("tokens", "names", "keys")
with atheris.instrument_imports(include=[f"lookalike_service.{name}" for name in MODULES]):
    from lookalike_service.keys import KeyRing, parsed_keys
    from lookalike_service.names import Names
    from lookalike_service.tokens import Tokens

from fakes import DIMENSION, FakeFinder, photo
from lookalike_service.errors import LookalikeError, StartupError

TOKENS = Tokens(["0123456789abcdef"], lifetime=3600)
NAMES = Names(["default"])
REQUEST = b"request"


def own_tokens() -> list[str]:
    """One of every kind."""
    import asyncio

    garment = asyncio.run(FakeFinder().find(photo({"look": "dress"}))).garments[0]
    return [
        TOKENS.of_garment(garment, catalog="default", embedding_version=1, region_id="r"),
        TOKENS.of_page(10, embedding_version=1, request=REQUEST),
        TOKENS.after_name("p", request=REQUEST),
    ]


OWN = own_tokens()


def one_input(data: bytes) -> None:
    """Read it as everything that it could be."""
    text = data.decode("utf-8", "replace")
    # The first byte may ask for a token of our own, which the rest alters.
    if len(data) > 3 and data[0] < len(OWN):
        own = OWN[data[0]]
        at = int.from_bytes(data[1:3], "big") % len(own)
        text = own[:at] + text[3:] + own[at + data[0] :]
    altered = text.rstrip("=") not in OWN
    for read in (
        lambda: TOKENS.read_garment(text, catalog="default", dimensions={1: DIMENSION}).vector,
        lambda: TOKENS.read_page(text, request=REQUEST),
        lambda: TOKENS.read_name(text, request=REQUEST),
    ):
        try:
            found = read()
        except LookalikeError:
            continue
        assert not altered, "an altered token was taken"
        assert isinstance(found, bytes | str | tuple)
    for name in (
        lambda: NAMES.catalog(text, field="x"),
        lambda: NAMES.product(text, field="x"),
        lambda: RING.caller(text),
    ):
        try:
            name()
        except LookalikeError:
            continue
    try:
        parsed_keys(text, Path("keys.toml"))
    except StartupError:
        return


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "keys.toml"
        file.write_text("")
        RING = KeyRing(file, requests_per_second=0, photos_at_once=0)
        atheris.Setup(sys.argv, one_input)
        atheris.Fuzz()
