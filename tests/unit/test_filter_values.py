"""Whatever a caller writes into a filter stays a value: the fake, Milvus Lite and SQLite find the same products."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakes import DIMENSION, MemoryIndex, vector
from lookalike_service.embedded.milvus import EmbeddedMilvus
from lookalike_service.filter import parse
from lookalike_service.milvus import MilvusIndex, MilvusOptions
from lookalike_service.model import Attribute, Box, Entry, Money, Product, View
from lookalike_service.ports import Index, Store
from support_gateway import eventually, open_store

# What has broken out of quotes before: quotes of all kinds, escapes, operators, comments, wildcards, templates.
NASTY = [
    "", "a", "A", '"', "'", "\\", '\\"', "\\'", '" or 1 == 1 or "', "' OR 1=1 --", "%", "_", "a%", "100%_", "{x}",
    "{{x}}", "$[0]", "a|b", "|", "a/b", "//", "日本", "😀", "null", "true", "\u0130", "é", "e\u0301", "1", "-1",
    "1e5", "\u2028",
    " a ", "a b", ";", "--", "/*", "\\u0041", "\\x41", "\\n", "]", "[", "(", ")", "==", "and", "brand", "x" * 200,
]  # fmt: skip
SINGLE, DOUBLE = "'", '"'
NUMBERS = [0, 1, -1, 3, 10.5, 1e-3, 2**40, -(2**53), 1.0]


def shelf(catalog: str) -> list[Entry]:
    """One product per nasty value, which it has as brand, pattern, category, color and attribute."""
    entries = []
    for number, value in enumerate(NASTY):
        attributes: dict[str, Attribute] = {"text": value, "number": NUMBERS[number % len(NUMBERS)]}
        if number % 3 == 0:
            attributes["flag"] = number % 2 == 0
        if number % 4 == 0:
            attributes["mixed"] = value if number % 8 else number
        product = Product(
            catalog,
            f"p{number}",
            brand=value,
            price=Money(number, "EUR") if number % 5 else None,
            available=number % 2 == 0,
            attributes=attributes,
            revision=1,
            indexed_revision=1,
        )
        view = View(
            id=f"p{number}/1",
            image_sha256="0" * 64,
            box=Box(0, 0, 1, 1),
            category=value.lower()[:190] or "top",
            # A vocabulary is ours and has no bars; everything else may be in a name.
            colours=(value.replace("|", "")[:60] or "red", "white"),
            pattern=value,
            embedding_version=1,
            embedding=vector(value).astype(np.float16),
        )
        entries.append(Entry(product, view))
    return entries


def quoted(value: str, quote: str) -> str:
    return quote + value.replace("\\", "\\\\").replace(quote, "\\" + quote) + quote


values = st.one_of(st.sampled_from(NASTY), st.text(st.characters(blacklist_categories=["Cs", "Cc"]), max_size=20))
texts = st.builds(quoted, values, st.sampled_from([SINGLE, DOUBLE]))
numbers = st.one_of(st.sampled_from(NUMBERS), st.integers(-(2**53), 2**53))
terms = st.one_of(
    st.builds(
        "{} {} {}".format, st.sampled_from(["brand", "pattern", "category"]), st.sampled_from(["=", "!="]), texts
    ),
    st.builds("colors : {}".format, texts),
    st.builds(
        "{} {} {}".format,
        st.sampled_from(["attributes.number", "attributes.mixed", "attributes.none"]),
        st.sampled_from(["=", "!=", "<", "<=", ">", ">="]),
        numbers,
    ),
    st.builds("price {} {}".format, st.sampled_from(["=", "!=", "<", "<=", ">", ">="]), st.integers(-3, 60)),
    st.builds(
        "{} {} {}".format,
        st.sampled_from(["attributes.text", "attributes.mixed", "attributes.none"]),
        st.sampled_from(["=", "!="]),
        texts,
    ),
    st.builds("{} = {}".format, st.sampled_from(["available", "attributes.flag"]), st.sampled_from(["true", "false"])),
    st.sampled_from(["available", "attributes.flag", "NOT attributes.flag", "NOT available"]),
)
filters = st.recursive(
    terms,
    lambda inner: st.one_of(
        st.builds("NOT ({})".format, inner),
        st.builds("({} AND {})".format, inner, inner),
        st.builds("({} OR {})".format, inner, inner),
    ),
    max_leaves=5,
)


class Engines:
    """The fake, a real index and a real database that hold the same shelf, on a loop of their own."""

    def __init__(self, loop: asyncio.AbstractEventLoop, fake: Index, lite: Index, store: Store) -> None:
        self._loop = loop
        self._fake = fake
        self._lite = lite
        self._store = store

    def found(self, text: str) -> list[set[str]]:
        """What each of them finds."""
        return self._loop.run_until_complete(self._found(text))

    async def _found(self, text: str) -> list[set[str]]:
        condition = parse(text)
        found = []
        for index in (self._fake, self._lite):
            [ranking] = await index.search("default", vector("a")[None], limit=1000, filter=condition)
            found.append({match.product_id for match in ranking.matches})
        listed = await self._store.page("default", limit=1000, filter=condition)
        return [*found, {product.id for product in listed}]


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    folder = tmp_path_factory.mktemp("values")
    with EmbeddedMilvus(folder / "data", run_directory=folder / "run") as milvus, asyncio.Runner() as runner:
        fake, lite, store = runner.run(stocked(folder, milvus.uri))
        yield Engines(runner.get_loop(), fake, lite, store)
        runner.run(lite.close())
        runner.run(store.close())


async def stocked(folder: Path, uri: str) -> tuple[Index, Index, Store]:
    """The fake, Milvus Lite at that address, and a database in that folder."""
    lite = await MilvusIndex.connect(MilvusOptions(uri), embedding_version=1, dimension=DIMENSION, timeout=30)
    fake, store = MemoryIndex(), await open_store(folder)
    for index in (fake, lite):
        await index.prepare("default")
        await index.upsert("default", shelf("default"))
    for entry in shelf("default"):
        whole = Product(
            **{
                name: getattr(entry.product, name)
                for name in ("catalog", "id", "brand", "price", "available", "attributes")
            },
            revision=1,
            views=(entry.view,),
        )
        await store.write(whole, expected_revision=0, pending=False)

    async def all_there() -> None:
        [ranking] = await lite.search("default", vector("a")[None], limit=1000)
        assert len(ranking.matches) == len(NASTY)

    await eventually(all_there)
    return fake, lite, store


@pytest.mark.parametrize("field", ["brand", "pattern", "attributes.text"])
def test_every_nasty_value_finds_itself_alone(engines: Engines, field: str) -> None:
    everything = {f"p{number}" for number in range(len(NASTY))}
    for number, value in enumerate(NASTY):
        text = f"{field} = {quoted(value, DOUBLE if number % 2 else SINGLE)}"
        assert engines.found(text) == [{f"p{number}"}] * 3, text
        assert number % 4 or engines.found(f"NOT ({text})") == [everything - {f"p{number}"}] * 3, text


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=filters)
def test_all_engines_agree_on_any_filter(engines: Engines, text: str) -> None:
    fake, lite, database = engines.found(text)
    assert lite == fake, text
    assert database == fake, text
