"""What each version of Milvus can do, in one table; the contract suite holds every row that it runs on to it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from lookalike_service.errors import StartupError

__all__ = ["INDEX_KINDS", "VERSIONS", "Abilities", "abilities_of"]

_EVERYWHERE: Final = frozenset({"HNSW", "IVF_FLAT", "IVF_SQ8", "FLAT", "AUTOINDEX"})
INDEX_KINDS: Final = _EVERYWHERE | {"HNSW_SQ", "IVF_RABITQ"}


@dataclass(frozen=True, slots=True)
class Abilities:
    """One row of the table.

    The index reads `kinds` to `filters_within_width`. It does without all that follows them, so that one way serves
    every version: it groups hits by product itself, rewrites whole rows, has no partition key, never inserts, ignores
    what a delete answers, and makes collections with the synchronous client.
    """

    name: str
    measured: bool
    """Whether the contract suite runs on it; the others are as their release notes say."""
    kinds: frozenset[str]
    """The kinds of index that it builds."""
    nested_parameters: bool
    """Whether it reads an index's parameters only from a `params` among them."""
    filters_within_width: bool
    """Whether HNSW filters only what it has found within `ef`; others look on until enough has passed."""
    grouping: bool
    """Whether a search keeps to `group_by_field`; those that do not ignore it without an error."""
    partial_update: bool
    """Whether an upsert may leave fields out; where not, a changed price rewrites the vector."""
    partition_key_upsert: bool
    """Whether a row upserted into a collection with a partition key is found by that key (milvus#30607)."""
    insert_replaces: bool
    """Whether inserting an id that is there replaces its row; where not, there are two rows of it."""
    delete_answer: type
    """What the client returns for a delete."""
    async_create: bool
    """Whether the asynchronous client can make a collection."""


VERSIONS: Final = (
    Abilities(
        name="Milvus Lite 3.2",
        measured=True,
        kinds=_EVERYWHERE | {"HNSW_SQ"},
        nested_parameters=True,
        filters_within_width=True,
        grouping=True,
        partial_update=True,
        partition_key_upsert=True,
        insert_replaces=True,
        delete_answer=list,
        async_create=False,
    ),
    Abilities(
        name="Milvus 2.3",
        measured=True,
        kinds=_EVERYWHERE,
        nested_parameters=False,
        filters_within_width=False,
        grouping=False,
        partial_update=False,
        partition_key_upsert=False,
        insert_replaces=False,
        delete_answer=dict,
        async_create=True,
    ),
    Abilities(
        name="Milvus 2.4 and 2.5",
        measured=False,
        kinds=_EVERYWHERE,
        nested_parameters=False,
        filters_within_width=False,
        grouping=True,
        partial_update=False,
        partition_key_upsert=True,
        insert_replaces=False,
        delete_answer=dict,
        async_create=True,
    ),
    Abilities(
        name="Milvus 2.6 and newer",
        measured=False,
        kinds=INDEX_KINDS,
        nested_parameters=False,
        filters_within_width=False,
        grouping=True,
        partial_update=True,
        partition_key_upsert=True,
        insert_replaces=False,
        delete_answer=dict,
        async_create=True,
    ),
)


def abilities_of(version: str) -> Abilities:
    """The row of a server by what it calls its version, as in "milvus_lite-3.2.2" or "v2.3.5-lite".

    Raises StartupError for servers older than 2.3. One that does not say is taken for the newest.
    """
    lite, old, middle, new = VERSIONS
    if version.startswith("milvus_lite"):
        return lite
    numbers = re.match(r"v?(\d+)\.(\d+)", version)
    if numbers is None:
        return new
    release = (int(numbers[1]), int(numbers[2]))
    if release < (2, 3):
        raise StartupError(f"Milvus {version} is too old; 2.3 or newer is needed")
    return old if release == (2, 3) else middle if release < (2, 6) else new
