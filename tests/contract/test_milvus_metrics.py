"""Milvus' own metrics are those that dashboard and alerts are checked against."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from typing import cast

import numpy as np
import pytest

from fakes import DIMENSION, vector
from lookalike_service.milvus import MilvusIndex, MilvusOptions
from lookalike_service.model import Box, Entry, Product, View
from support_engines import MILVUS_SERVERS, MilvusAccess
from support_metrics import FOLDER, Series, shown

ENTRY = Entry(
    Product("default", "a", indexed_revision=1),
    View(
        id="a/0",
        image_sha256="0" * 64,
        box=Box(0.0, 0.0, 1.0, 1.0),
        category="dress",
        colours=("red",),
        pattern="solid",
        embedding_version=1,
        embedding=vector("dress").astype(np.float16),
    ),
)


@pytest.mark.parametrize("milvus_access", MILVUS_SERVERS, indirect=True)
async def test_what_is_listed_is_shown(milvus_access: MilvusAccess, catalog: str) -> None:
    if not milvus_access.metrics:
        pytest.skip("nobody has said where this Milvus shows its metrics")
    options = MilvusOptions(milvus_access.uri, token=milvus_access.token)
    index = await MilvusIndex.connect(options, embedding_version=1, dimension=DIMENSION, timeout=20)
    try:
        await index.prepare(catalog)
        await index.upsert(catalog, [ENTRY])
        await index.delete(catalog, [ENTRY.view.id])
        await index.search(catalog, vector("dress")[None], limit=1)
    finally:
        await index.close()
    text = await asyncio.to_thread(_read, milvus_access.metrics)
    found, listed = shown(text), cast(Series, json.loads((FOLDER / "milvus.json").read_text()))
    for name, labels in listed.items():
        assert name in found
        assert labels.keys() <= found[name].keys(), name
        for label, words in labels.items():
            assert set(words) <= set(found[name][label]), f"{name}, {label}"


def _read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as answer:
        text: str = answer.read().decode()
    return text
