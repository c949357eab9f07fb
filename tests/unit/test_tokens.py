"""Garment and page tokens: what they hold, and that nobody else can make them."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes import DIMENSION, vector
from lookalike_service.errors import GarmentTokenInvalid, PageTokenInvalid
from lookalike_service.model import Box, Garment, Looks, Source
from lookalike_service.tokens import GarmentMemory, Tokens, compact, expanded, fingerprint

HOUR = 3600.0


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.time = 1_000_000.0

    def __call__(self) -> float:
        return self.time


def garment() -> Garment:
    return Garment(
        box=Box(0.125, 0.25, 0.5, 1.0),
        crop_box=Box(0, 0, 1, 1),
        score=0.75,
        source=Source.REGION,
        category="dress",
        categories=(),
        colours=(),
        patterns=(),
        materials=(),
        landmarks=np.zeros((8, 3), np.float32),
        mask=np.zeros((4, 4), np.uint8),
        embedding=vector("dress"),
    )


LOOKS = Looks({"red": 0.75, "white": 0.25}, "striped")


def made(
    tokens: Tokens, *, catalog: str = "default", version: int = 3, region_id: str = "ä", looks: Looks = LOOKS
) -> str:
    return tokens.of_garment(garment(), catalog=catalog, embedding_version=version, region_id=region_id, looks=looks)


def read(tokens: Tokens, token: str, *, catalog: str = "default", version: int = 3) -> GarmentMemory:
    return tokens.read_garment(token, catalog=catalog, dimensions={version: DIMENSION})


def test_a_garment_is_remembered() -> None:
    tokens = Tokens(lifetime=HOUR)
    memory = read(tokens, made(tokens))
    assert (memory.box, memory.source, memory.score) == (Box(0.125, 0.25, 0.5, 1.0), Source.REGION, 0.75)
    assert (memory.category, memory.region_id, memory.looks) == ("dress", "ä", LOOKS)
    assert read(tokens, made(tokens, looks=Looks())).looks == Looks()
    assert expanded(memory.vector) == pytest.approx(vector("dress"), abs=1e-3)
    assert float(np.linalg.norm(expanded(memory.vector))) == pytest.approx(1)


def test_a_token_goes_into_an_address_and_is_small() -> None:
    token = made(Tokens(lifetime=HOUR))
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    assert len(token) < 300
    assert len(made(Tokens(lifetime=HOUR))) == len(token)


def test_tokens_expire() -> None:
    clock = Clock()
    tokens = Tokens(lifetime=HOUR, now=clock)
    token = made(tokens)
    clock.time += HOUR - 1
    assert read(tokens, token)
    clock.time += 2
    with pytest.raises(GarmentTokenInvalid, match="expired"):
        read(tokens, token)


def test_tokens_are_bound_to_catalog_and_version() -> None:
    tokens = Tokens(lifetime=HOUR)
    with pytest.raises(GarmentTokenInvalid, match="another catalog"):
        read(tokens, made(tokens), catalog="other")
    with pytest.raises(GarmentTokenInvalid, match="version 3, served is 4"):
        read(tokens, made(tokens), version=4)


def test_keys_can_be_rotated() -> None:
    old, new = "first secret key", "second secret key"
    before, between, after = (Tokens(keys, lifetime=HOUR) for keys in ([old], [new, old], [new]))
    assert read(between, made(before))
    assert read(after, made(between))
    with pytest.raises(GarmentTokenInvalid, match="another server"):
        read(after, made(before))


def test_without_keys_nobody_else_can_read() -> None:
    with pytest.raises(GarmentTokenInvalid):
        read(Tokens(lifetime=HOUR), made(Tokens(lifetime=HOUR)))


@given(position=st.integers(0), flip=st.integers(1, 255))
def test_a_changed_byte_is_noticed(position: int, flip: int) -> None:
    tokens = Tokens(["0123456789abcdef"], lifetime=HOUR)
    token = made(tokens)
    data = bytearray(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    data[position % len(data)] ^= flip
    with pytest.raises(GarmentTokenInvalid):
        read(tokens, base64.urlsafe_b64encode(bytes(data)).decode().rstrip("="))


@given(st.text())
def test_any_text_is_refused(text: str) -> None:
    tokens = Tokens(lifetime=HOUR)
    with pytest.raises(GarmentTokenInvalid):
        read(tokens, text)
    with pytest.raises(PageTokenInvalid):
        tokens.read_page(text, request=b"")


def test_another_text_for_the_same_bytes_is_refused() -> None:
    tokens = Tokens(["0123456789abcdef"], lifetime=60)
    made = (tokens.of_page(10, embedding_version=1, request=b"r") for _ in range(1000))
    token = next(each for each in made if "-" in each)
    assert tokens.read_page(token, request=b"r")
    for text in (token.replace("-", "+"), token + "=", token + "\n"):
        with pytest.raises(PageTokenInvalid):
            tokens.read_page(text, request=b"r")


def test_pages_are_bound_to_their_request() -> None:
    tokens = Tokens(lifetime=HOUR)
    here, there = fingerprint("a", 1), fingerprint("a", 2)
    assert tokens.read_page(tokens.of_page(30, embedding_version=2, request=here), request=here) == (30, 2)
    assert tokens.read_name(tokens.after_name("p-1", request=here), request=here) == "p-1"
    for wrong in (
        tokens.of_page(30, embedding_version=1, request=there),
        tokens.after_name("p", request=here),
        made(tokens),
    ):
        with pytest.raises(PageTokenInvalid):
            tokens.read_page(wrong, request=here)
    with pytest.raises(PageTokenInvalid):
        tokens.read_name(tokens.of_page(30, embedding_version=1, request=here), request=here)


def test_fingerprints_tell_fields_apart() -> None:
    parts = [("a", "b"), ("ab", ""), ("a", "b", ""), ("a", 1), ("a", "1"), ("a", 1.5)]
    assert len({fingerprint(*each) for each in parts}) == len(parts)


def test_compact_is_half_the_size() -> None:
    assert len(compact(vector("x"))) == 2 * DIMENSION
