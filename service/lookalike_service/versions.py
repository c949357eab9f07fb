"""Embedding versions of the catalogs: which there are, in what state, and which one a request gets.

filling -> filled -> serving <-> kept -> dropping

A version is filled from the stored photographs while another one serves. From `filled` on it has every product, and
every write reaches it. Of the versions of a catalog exactly one serves; `filled` and `kept` ones are answered with when
a caller asks for them, or by their share of the traffic. `dropping` is what is being thrown away.
"""

from __future__ import annotations

import enum
import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from lookalike_service.errors import IndexUnavailable, ModelUnavailable, RequestInvalid
from lookalike_service.model import GarmentFinder, Product
from lookalike_service.ports import Index

__all__ = ["Live", "Pair", "Shelf", "Snapshot", "State", "VersionRecord"]


class State(enum.Enum):
    """What a catalog does with an embedding version."""

    FILLING = "filling"
    FILLED = "filled"
    SERVING = "serving"
    KEPT = "kept"
    DROPPING = "dropping"

    @property
    def complete(self) -> bool:
        """Whether it has every product, so that it can answer and no write may miss it."""
        return self in (State.FILLED, State.SERVING, State.KEPT)


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """One version of one catalog as the database has it; `changed` in microseconds since 1970."""

    catalog: str
    version: int
    state: State
    filled_to: str = ""
    changed: int = 0


@dataclass(frozen=True, slots=True)
class Pair:
    """What makes vectors of one version, and what holds them: they never meet those of another."""

    finder: GarmentFinder
    index: Index

    @property
    def version(self) -> int:
        """The embedding version."""
        return self.finder.embedding_version


@dataclass(frozen=True, slots=True)
class Live:
    """A version that writes go to; without `pair` when its ensembles or its collection cannot be reached."""

    record: VersionRecord
    pair: Pair | None


@dataclass(frozen=True, slots=True)
class Shelf:
    """The index of one version; what it misses is no failure unless it is `needed`."""

    version: int
    index: Index
    needed: bool = True


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a gateway knows of the versions at one moment; a call looks once and keeps to what it saw."""

    records: Mapping[str, Sequence[VersionRecord]] = field(default_factory=dict)
    pairs: Mapping[int, Pair] = field(default_factory=dict)
    shares: Mapping[int, float] = field(default_factory=dict)
    """The share of the traffic, 0..1, that each version gets; the serving one gets what is left."""
    before: Mapping[str, int] = field(default_factory=dict)
    """What each catalog was answered with until now, for as long as a new serving version cannot be reached."""

    def live(self, catalog: str) -> list[Live]:
        """The versions that a write goes to, the serving one first."""
        records = [each for each in self.records.get(catalog, ()) if each.state is not State.DROPPING]
        records.sort(key=lambda each: (each.state is not State.SERVING, each.version))
        return [Live(record, self.pairs.get(record.version)) for record in records]

    def shelves(self, catalog: str) -> list[Shelf]:
        """Where the index of each version is that writes go to, as far as it is reached.

        Raises IndexUnavailable when that of the serving one is not.
        """
        live = self.live(catalog)
        if not live or live[0].pair is None:
            raise IndexUnavailable(f"the collection that {catalog} is searched in is not reached")
        return [
            Shelf(each.record.version, each.pair.index, needed=each.record.state.complete) for each in live if each.pair
        ]

    def serving(self, catalog: str) -> int:
        """The version that a caller gets who asks for none."""
        found = next((each for each in self.live(catalog) if each.record.state is State.SERVING), None)
        if found is None:
            raise ModelUnavailable(f"catalog {catalog} has no embedding version that serves")
        before = self.before.get(catalog, 0)
        return found.record.version if found.pair or before not in self._answering(catalog) else before

    def choose(self, catalog: str, *, asked: int = 0, key: str = "", draw: Callable[[], float] = random.random) -> Pair:
        """What answers a request: the version asked for, or by the shares; the same one for the same `key`.

        Raises RequestInvalid for a version that cannot answer, ModelUnavailable when the serving one is not reached.
        """
        if asked:
            return self._asked(catalog, asked)
        place = _place(key) if key else draw()
        answering = self._answering(catalog)
        for version, share in sorted(self.shares.items()):
            if place < share:
                if version in answering:
                    return answering[version]
                break
            place -= share
        serving = self.serving(catalog)
        if serving not in answering:
            raise ModelUnavailable(
                f"Triton does not serve garments_{serving}, which catalog {catalog} is searched with"
            )
        return answering[serving]

    def shown(self, product: Product) -> Product:
        """The product with its views of the serving version alone."""
        return _with_views(product, {self.serving(product.catalog)})

    def living(self, product: Product) -> Product:
        """The product without views of versions that are being thrown away."""
        return _with_views(product, {each.record.version for each in self.live(product.catalog)})

    def dimensions(self, catalog: str) -> dict[int, int]:
        """The length of a vector of each version that can answer."""
        return {version: pair.finder.embedding_size for version, pair in self._answering(catalog).items()}

    def _answering(self, catalog: str) -> dict[int, Pair]:
        return {
            each.record.version: each.pair for each in self.live(catalog) if each.pair and each.record.state.complete
        }

    def _asked(self, catalog: str, asked: int) -> Pair:
        answering = self._answering(catalog)
        if asked in answering:
            return answering[asked]
        known = next((each.record for each in self.live(catalog) if each.record.version == asked), None)
        if known and known.state is State.FILLING:
            why = "is still being filled"
        else:
            why = "is not reached by this server" if known else "is not served"
        others = " and ".join(map(str, sorted(answering))) or "none"
        raise RequestInvalid(
            f"embedding version {asked} {why}; {others} {'are' if len(answering) > 1 else 'is'}",
            field="embedding_version",
        )


def _with_views(product: Product, versions: set[int]) -> Product:
    return replace(product, views=tuple(view for view in product.views if view.embedding_version in versions))


def _place(key: str) -> float:
    """Where a key lies in 0..1, on every gateway the same."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
