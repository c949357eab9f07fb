"""From the files of vectors into the catalog of record and the index, many products at a time."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

from lookalike_service.bulk.folder import Folder
from lookalike_service.bulk.manifest import Manifest
from lookalike_service.bulk.needed import needed_version, versions_of
from lookalike_service.bulk.parts import Failure, Part, read_vectors
from lookalike_service.drafts import Outcome, same_to_searches
from lookalike_service.errors import (
    DeadlineExceeded,
    IndexUnavailable,
    RevisionOutdated,
    StartupError,
    StoreUnavailable,
    VersionsOutdated,
)
from lookalike_service.model import Pending, Product
from lookalike_service.plans import Plan, planned
from lookalike_service.ports import ImageStore
from lookalike_service.projection import Projection
from lookalike_service.store import SqlStore
from lookalike_service.version_records import SqlVersions
from lookalike_service.versions import Snapshot

__all__ = ["LoadedPart", "Loader"]

logger = logging.getLogger(__name__)

# In one commit: what comes back from the database for a comparison has to fit into memory, and a commit into its time.
MOST_PRODUCTS: Final = 500
CONFLICTS: Final = 3
PAUSES: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)

Result = TypeVar("Result")


@dataclass(slots=True)
class LoadedPart:
    """What became of a part: how many products are in the catalog as they should be, and which rows failed.

    `kept` of them were changed by somebody else after their photographs had been looked at, and stay so.
    """

    products: int = 0
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    kept: int = 0
    failures: list[Failure] = field(default_factory=list)


class Loader:
    """Writes as an import does: record and outbox in one commit, then the index; then the outbox is cleared."""

    def __init__(
        self, folder: Folder, manifest: Manifest, *, store: SqlStore, images: ImageStore, projection: Projection
    ) -> None:
        self._folder = folder
        self._manifest = manifest
        self._store = store
        self._records = SqlVersions(store)
        self._images = images
        self._projection = projection

    async def begin(self) -> None:
        """Have the version of the vectors serve a new catalog, and bring to the index what earlier writes left.

        Raises StartupError when the catalog needs other vectors, and as `load` does.
        """
        catalog = self._manifest.catalog
        await self._records.adopt([catalog], self._manifest.embedding_version)
        await self.finish()

    async def load(self, part: int) -> LoadedPart:
        """Bring a part into record and index. What is there as it should be costs a look.

        Raises StartupError when the part or its photographs are not there or the catalog needs other vectors by now,
        StoreUnavailable and IndexUnavailable when these stay away for half a minute.
        """
        content = await asyncio.to_thread(read_vectors, self._folder, part, manifest=self._manifest)
        await self._check_photographs(content)
        loaded = LoadedPart(failures=list(content.failures))
        for begin in range(0, len(content.products), MOST_PRODUCTS):
            await self._bring(content.products[begin : begin + MOST_PRODUCTS], content, loaded)
        loaded.products = loaded.outcomes.total() + loaded.kept
        return loaded

    async def finish(self) -> None:
        """Bring to the index what was committed without our hearing of it. Raises as `load` does."""
        await self._versions()
        await _patiently(lambda: self._projection.replay(self._manifest.catalog))

    async def _versions(self) -> Snapshot:
        """The embedding versions as they are now. Raises StartupError when the catalog needs others than we have."""
        catalog = self._manifest.catalog
        versions = await _patiently(lambda: versions_of(self._records))
        self._manifest.refuse_others(
            catalog=catalog, embedding_version=needed_version(versions, catalog), wanted_by="the catalog by now"
        )
        return versions

    async def _check_photographs(self, part: Part) -> None:
        """Whether workers have put them where this process, and so the gateway, finds them; one tells for all."""
        sha256 = next((product.images[0].sha256 for product in part.products), None)
        if sha256 and await self._images.get(sha256) is None:
            raise StartupError(
                "the photographs of the workers are not in LOOKALIKE_IMAGES_URL as this machine sees it; it must name "
                "a place that all machines reach, such as s3://bucket/images"
            )

    async def _bring(self, products: Sequence[Product], part: Part, loaded: LoadedPart) -> None:
        waiting = products
        for _ in range(CONFLICTS):
            waiting = await self._written(waiting, part, loaded)
            if not waiting:
                return
        raise StartupError(f"product {waiting[0].id} is changed by others all the time; run the command again")

    async def _written(self, products: Sequence[Product], part: Part, loaded: LoadedPart) -> list[Product]:
        """Write what differs, and tell the index; gives the products that somebody else wrote meanwhile."""
        store, ids, versions = self._store, [product.id for product in products], await self._versions()
        stored = await _patiently(lambda: store.products(self._manifest.catalog, ids, views=True, deleted=True))
        plans = [
            (product, plan)
            for product in products
            if (plan := self._planned(product, stored.get(product.id), versions, part, loaded))
        ]
        fresh = [(product, plan) for product, plan in plans if plan.before is None]
        again, pending = [], []
        try:
            pending += await _patiently(lambda: store.insert([plan.product for _, plan in fresh]))
            loaded.outcomes[Outcome.CREATED] += len(fresh)
        except (RevisionOutdated, VersionsOutdated):
            again += [product for product, _ in fresh]
        for product, plan in plans:
            if plan.before is None:
                continue
            try:
                pending += await self._replaced(plan, plan.before)
                loaded.outcomes[plan.outcome] += 1
            except (RevisionOutdated, VersionsOutdated):
                again.append(product)
        if pending:
            await _patiently(lambda: self._projection.apply(pending))
        return again

    async def _replaced(self, plan: Plan, before: Product) -> list[Pending]:
        pending = await _patiently(
            lambda: self._store.write(
                plan.product,
                expected_revision=before.revision,
                expected_deleted=before.deleted,
                pending=plan.visible,
            )
        )
        return [pending] if pending else []

    def _planned(
        self, wanted: Product, before: Product | None, versions: Snapshot, part: Part, loaded: LoadedPart
    ) -> Plan | None:
        """The write that a product needs; None when it needs none, which is counted."""
        try:
            plan = planned(_with_filled(wanted, before, versions), before, versions=versions)
        except RevisionOutdated as error:
            row, label = part.places[wanted.id]
            loaded.failures.append(Failure(row, label, f"{error.reason}: {error.message}"))
            return None
        if not plan.writes:
            loaded.outcomes[plan.outcome] += 1
            return None
        if before and not wanted.revision and _later(before, wanted):
            loaded.kept += 1
            return None
        return plan


def _with_filled(wanted: Product, before: Product | None, versions: Snapshot) -> Product:
    """With the views that a filling has given the product already.

    Where searches can tell the difference it is without them, so that the filling embeds it again: the index of the
    version that is filled is not written here.
    """
    if before is None or not same_to_searches(wanted, versions.shown(before)):
        return wanted
    own = {view.embedding_version for view in wanted.views}
    others = [view for view in versions.living(before).views if view.embedding_version not in own]
    return replace(wanted, views=tuple(sorted((*wanted.views, *others), key=lambda view: view.embedding_version)))


def _later(stored: Product, wanted: Product) -> bool:
    return bool(stored.update_time and wanted.update_time and stored.update_time > wanted.update_time)


async def _patiently(work: Callable[[], Awaitable[Result]]) -> Result:
    """Try again with growing pauses while database or index are away."""
    for pause in PAUSES:
        try:
            return await work()
        except (StoreUnavailable, IndexUnavailable, DeadlineExceeded) as error:
            logger.warning("trying again in %g s: %s", pause, error.message)
            await asyncio.sleep(pause)
    return await work()
