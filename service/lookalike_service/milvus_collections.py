"""The collections of Milvus: their names, their fields, their index, and the aliases that point at them."""

from __future__ import annotations

import functools
import hashlib
import logging
import re
import time
from typing import Any, Final

from pymilvus import DataType

from lookalike_service.errors import StartupError
from lookalike_service.milvus_clients import FAILURES, MilvusOptions
from lookalike_service.milvus_versions import Abilities

__all__ = ["Collections", "alias_of", "collection_of"]

logger = logging.getLogger(__name__)

# VARCHAR lengths count bytes; the longest values of the API are 200 characters.
LONGEST_TEXT: Final = 800
# Loading and indexing take longer than a search.
PATIENCE: Final = 6
# More than Lite is for, so that it looks at all that it has.
WIDEST: Final = 16384
# Of IVF_RABITQ: how many times the rows asked for are looked at more closely.
REFINED: Final = 4


def collection_of(catalog: str, embedding_version: int) -> str:
    """`garments_<catalog>_<v>`, with the letters that Milvus refuses escaped so that no two names meet."""
    return f"{alias_of(catalog)}_{embedding_version}"


@functools.lru_cache
def alias_of(catalog: str) -> str:
    """`garments_<catalog>`, escaped in the same way."""
    escaped = re.sub(r"[^A-Za-z0-9]", lambda found: "__" if found[0] == "_" else f"_x{ord(found[0]):02x}", catalog)
    if len(escaped) > 200:
        escaped = "_h" + hashlib.sha256(catalog.encode()).hexdigest()
    return f"garments_{escaped}"


class Collections:
    """Makes collections ready; all of its calls block, and each has a deadline."""

    def __init__(self, client: Any, options: MilvusOptions, abilities: Abilities, *, dimension: int) -> None:  # noqa: ANN401
        """`client` is a synchronous one: the asynchronous one cannot make collections on Lite."""
        self._client = client
        self._options = options
        self._abilities = abilities
        self._dimension = dimension
        self._seconds = options.call_seconds * PATIENCE
        self._kinds: dict[str, str] = {}

    def prepare(self, name: str, *, alias: str) -> None:
        """Create what is missing of a collection and its alias, and load it. Raises StartupError."""
        client, seconds = self._client, self._seconds
        if not client.has_collection(name, timeout=seconds):
            self._create(name)
        self._check(client.describe_collection(name, timeout=seconds), name)
        self._kinds[name] = self._kind(name)
        if alias not in client.list_aliases(name, timeout=seconds).get("aliases", []):
            self._point(alias, name)
        client.load_collection(name, timeout=seconds)

    def _create(self, name: str) -> None:
        client, seconds = self._client, self._seconds
        try:
            client.create_collection(
                name,
                schema=self._schema(),
                index_params=self._index(),
                consistency_level="Bounded",
                timeout=seconds,
            )
        except FAILURES:
            # All gateways and the reindexing want a new version's collection at the same moment, and one makes it.
            if not client.has_collection(name, timeout=seconds):
                raise
            self._await_index(name)
        else:
            logger.info("created the collection %s", name)

    def _await_index(self, name: str) -> None:
        """Wait until whoever creates a collection has given it its index, too."""
        end = time.monotonic() + self._options.call_seconds
        while "embedding" not in self._client.list_indexes(name) and time.monotonic() < end:
            time.sleep(0.1)

    def point(self, alias: str, name: str) -> None:
        """Let the alias name this collection, whatever it named before; at once, so that no reader ever misses it."""
        client, seconds = self._client, self._seconds
        if alias in client.list_aliases(name, timeout=seconds).get("aliases", []):
            return
        if self._owner(alias, other_than=name):
            client.alter_alias(name, alias, timeout=seconds)
        else:
            client.create_alias(name, alias, timeout=seconds)

    def drop(self, name: str, *, alias: str) -> None:
        """Drop a collection if it is there. Raises StartupError when readers of the alias would lose it."""
        client, seconds = self._client, self._seconds
        if not client.has_collection(name, timeout=seconds):
            return
        # Dropping what an alias names succeeds without a word.
        if alias in client.list_aliases(name, timeout=seconds).get("aliases", []):
            raise StartupError(f"the alias {alias} still names {name}; only another version that serves takes it away")
        client.drop_collection(name, timeout=seconds)
        self._kinds.pop(name, None)
        logger.info("dropped the collection %s", name)

    def search_parameters(self, name: str, *, rows: int, filtered: bool = False) -> dict[str, int]:
        """How widely a search for `rows` rows looks, by the kind of index that the collection really has."""
        kind = self._kinds.get(name, self._options.index_kind)
        if kind.startswith("HNSW"):
            widest = WIDEST if filtered and self._abilities.filters_within_width else 0
            return {"ef": max(self._options.search_width, rows, widest)}
        if not kind.startswith("IVF"):
            return {}
        # Bits say too little of the order of the best; the refined copy decides it among four times as many.
        return {"nprobe": self._options.probes, **({"refine_k": REFINED} if kind == "IVF_RABITQ" else {})}

    def _kind(self, name: str) -> str:
        """The kind of index that is there: a changed setting leaves a collection as it is."""
        description = self._client.describe_index(name, "embedding", timeout=self._seconds) or {}
        kind = str(description.get("index_type", self._options.index_kind))
        if kind != self._options.index_kind:
            logger.warning(
                "%s keeps its %s index; LOOKALIKE_INDEX_KIND is %s for new ones", name, kind, self._options.index_kind
            )
        return kind

    def _point(self, alias: str, name: str) -> None:
        """Give the alias to the collection unless another embedding version has it: only reindexing switches it."""
        if not self._owner(alias, other_than=name):
            self._client.create_alias(name, alias, timeout=self._seconds)

    def _owner(self, alias: str, *, other_than: str) -> str:
        """The other collection that the alias names, or nothing."""
        client, seconds = self._client, self._seconds
        for other in client.list_collections(timeout=seconds):
            if other != other_than and alias in client.list_aliases(other, timeout=seconds).get("aliases", []):
                return str(other)
        return ""

    def _check(self, description: dict[str, Any], name: str) -> None:
        found = [field["params"].get("dim") for field in description["fields"] if field["name"] == "embedding"]
        if [int(size or 0) for size in found] != [self._dimension]:
            raise StartupError(
                f"the collection {name} holds vectors of {found} numbers, the models make {self._dimension}; a change "
                "of models needs a new embedding version, and `lookalike reindex VERSION` brings the catalog there"
            )

    def _schema(self) -> Any:  # noqa: ANN401 - pymilvus is untyped
        schema = self._client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=256)
        schema.add_field("product_id", DataType.VARCHAR, max_length=128)
        schema.add_field("image_sha256", DataType.VARCHAR, max_length=64)
        for name in ("category", "brand", "pattern"):
            schema.add_field(name, DataType.VARCHAR, max_length=LONGEST_TEXT)
        schema.add_field("price", DataType.INT64)
        schema.add_field("available", DataType.BOOL)
        schema.add_field("colours", DataType.ARRAY, element_type=DataType.VARCHAR, max_capacity=16, max_length=64)
        schema.add_field("box", DataType.ARRAY, element_type=DataType.FLOAT, max_capacity=4)
        schema.add_field("embedding_version", DataType.INT32)
        schema.add_field("revision", DataType.INT64)
        schema.add_field("attributes", DataType.JSON)
        schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=self._dimension)
        return schema

    def _index(self) -> Any:  # noqa: ANN401
        options, kind = self._options, self._options.index_kind
        parameters: dict[str, Any] = {}
        if kind.startswith("HNSW"):
            parameters = {"M": options.links, "efConstruction": options.build_width}
        if kind == "HNSW_SQ":
            parameters["sq_type"] = "SQ8"
        if kind.startswith("IVF"):
            parameters = {"nlist": options.lists}
        if kind == "IVF_RABITQ":
            parameters |= {"refine": True, "refine_type": "SQ8"}
        if self._abilities.nested_parameters:
            parameters = {"params": parameters}
        index = self._client.prepare_index_params()
        index.add_index("embedding", index_type=kind, metric_type="COSINE", params=parameters)
        return index
