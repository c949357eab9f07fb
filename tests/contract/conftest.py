"""The engines that the contract suites run on.

MILVUS_URI and DATABASE_URL in the environment add a server of each kind.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from fakes import DIMENSION, MemoryIndex
from lookalike_service.embedded.milvus import EmbeddedMilvus
from lookalike_service.milvus import MilvusIndex, MilvusOptions
from lookalike_service.ports import Index, Store
from lookalike_service.store import SqlStore

INDEXES = ["memory", "lite", *(["server"] if "MILVUS_URI" in os.environ else [])]
DATABASES = ["sqlite", *(["server"] if "DATABASE_URL" in os.environ else [])]


@pytest.fixture(scope="session")
def lite_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Milvus Lite that all tests share."""
    directory = tmp_path_factory.mktemp("lite")
    with EmbeddedMilvus(directory / "data", run_directory=directory / "run") as milvus:
        yield milvus.uri


@pytest.fixture
def catalog() -> str:
    """A catalog that no other test uses, with a name that needs escaping."""
    return f"test_{uuid.uuid4().hex[:8]}.a-b"


@pytest.fixture(params=INDEXES)
async def index(request: pytest.FixtureRequest, catalog: str) -> AsyncIterator[Index]:
    """Every engine in turn, with the catalog prepared."""
    if request.param == "memory":
        found: Index = MemoryIndex()
    else:
        uri = os.environ["MILVUS_URI"] if request.param == "server" else request.getfixturevalue("lite_uri")
        options = MilvusOptions(uri, token=os.environ.get("MILVUS_TOKEN", ""))
        found = await MilvusIndex.connect(options, embedding_version=1, dimension=DIMENSION, timeout=20)
    await found.prepare(catalog)
    yield found
    await found.close()


@pytest.fixture(params=DATABASES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """Every database in turn."""
    url = f"sqlite+aiosqlite:///{tmp_path}/catalog.db"
    found = await SqlStore.connect(os.environ["DATABASE_URL"] if request.param == "server" else url)
    yield found
    await found.close()
