"""The garment views of a product by every embedding version that its catalog has."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lookalike_service.admission import Deadline
from lookalike_service.errors import LookalikeError, ModelUnavailable
from lookalike_service.garments import Viewer
from lookalike_service.model import Product, View
from lookalike_service.ports import ImageStore
from lookalike_service.versions import Live, Pair, Snapshot, State

__all__ = ["Embedded", "Embedder"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Embedded:
    """The views of all versions, by their numbers; how many of the serving one's are new."""

    views: tuple[View, ...]
    new: int


class Embedder:
    """Embeds what is written with every version, so that none of them ever lags behind."""

    def __init__(self, versions: Callable[[], Snapshot], images: ImageStore) -> None:
        """`images` has what a write did not bring along."""
        self._versions = versions
        self._images = images
        self._viewers: dict[int, tuple[Pair, Viewer]] = {}

    async def views(
        self,
        product: Product,
        contents: Mapping[str, bytes],
        stored: Product | None,
        *,
        deadline: Deadline,
        patient: bool,
    ) -> Embedded:
        """The views as the serving version sees them, and with them those of every other one.

        Raises what Viewer.views raises, and ModelUnavailable where a version that must have the product is not reached.
        """
        snapshot = self._versions()
        snapshot.serving(product.catalog)
        serving, *others = snapshot.live(product.catalog)
        views, new = await self._by(serving, product, contents, stored, deadline=deadline, patient=patient)

        async def more(live: Live) -> tuple[View, ...]:
            if live.record.state is State.FILLING:
                return await self._by_filling(live, product, contents, stored, deadline=deadline, new=new)
            return (await self._by(live, product, contents, stored, deadline=deadline, patient=patient))[0]

        rest = await asyncio.gather(*map(more, others))
        every = [*views, *(view for each in rest for view in each)]
        return Embedded(tuple(sorted(every, key=lambda view: view.embedding_version)), new)

    async def _by(
        self,
        live: Live,
        product: Product,
        contents: Mapping[str, bytes],
        stored: Product | None,
        *,
        deadline: Deadline,
        patient: bool,
    ) -> tuple[tuple[View, ...], int]:
        if live.pair is None:
            version, state = live.record.version, live.record.state.value
            raise ModelUnavailable(
                f"embedding version {version} of catalog {product.catalog} ({state}) is not reached: Triton must serve "
                f"garments_{version}, or `lookalike reindex --drop {version}` must take it away"
            )
        return await self._viewer(live.pair).views(product, contents, stored, deadline=deadline, patient=patient)

    def _viewer(self, pair: Pair) -> Viewer:
        """One for all writes, since it bounds how many photos they have with the models at once."""
        known, viewer = self._viewers.get(pair.version, (None, None))
        if viewer is None or known is not pair:
            viewer = Viewer(pair.finder, self._images)
            self._viewers[pair.version] = pair, viewer
        return viewer

    async def _by_filling(
        self,
        live: Live,
        product: Product,
        contents: Mapping[str, bytes],
        stored: Product | None,
        *,
        deadline: Deadline,
        new: int,
    ) -> tuple[View, ...]:
        """All views of a version that is being filled, or none: then the filling embeds the product.

        So a new model that is slow or fails harms no write, and a changed price embeds nothing.
        """
        if live.pair is None:
            return ()
        known = {view.id for view in stored.views if view.embedding_version == live.record.version} if stored else set()
        if not new and not known:
            return ()
        try:
            half = Deadline(deadline.remaining() / 2)
            return (await self._by(live, product, contents, stored, deadline=half, patient=False))[0]
        except LookalikeError as error:
            logger.info("left to the filling of version %d: %s", live.record.version, error.message)
            return ()
