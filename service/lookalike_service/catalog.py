"""The use cases of the product side: read, list, write and delete products."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, Final
from weakref import WeakValueDictionary

from lookalike_service.admission import Deadline
from lookalike_service.drafts import Draft, Outcome, Written
from lookalike_service.embedding import Embedder
from lookalike_service.errors import ProductExists, RequestInvalid, RevisionOutdated, VersionsOutdated
from lookalike_service.filter import parse
from lookalike_service.lookups import Lookups
from lookalike_service.model import Product
from lookalike_service.names import no_such_product, product_name
from lookalike_service.plans import Plan, planned, refuse_outdated, resolved
from lookalike_service.ports import ImageStore, Store
from lookalike_service.projection import Projection
from lookalike_service.settings import Settings
from lookalike_service.tokens import Tokens, fingerprint
from lookalike_service.watching import VersionWatch

__all__ = ["Catalog"]

CONFLICTS: Final = 3
# How many products a filtered list looks through at a time, and for how long; SQLite takes 0.2 s for as many.
SCAN_ROWS: Final = 20_000
SCAN_SECONDS: Final = 2.0

Change = Callable[[Product | None], Draft]


class Catalog:
    """The products of all catalogs."""

    def __init__(
        self,
        settings: Settings,
        *,
        versions: VersionWatch,
        store: Store,
        images: ImageStore,
        projection: Projection,
        tokens: Tokens,
    ) -> None:
        self._settings = settings
        self._versions = versions
        self._embedder = Embedder(lambda: versions.now, images)
        self._store = store
        self._lookups = Lookups(store)
        self._images = images
        self._projection = projection
        self._tokens = tokens
        self._locks: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    async def get(self, catalog: str, product_id: str) -> Product:
        """The product with its views of the version that serves. Raises ProductNotFound."""
        product = (await self._store.products(catalog, [product_id], views=True)).get(product_id)
        if product is None:
            raise no_such_product(catalog, product_id)
        return self._versions.now.shown(product)

    async def page(self, catalog: str, *, filter: str, page_size: int, page_token: str) -> tuple[list[Product], str]:
        """A page of products in the order of their ids, and the token of the next one.

        A filter that few products pass is followed for a while only: then the page is short, perhaps empty, and its
        token goes on from there (AIP-158 allows it), so that no request waits for a scan of millions.
        """
        if page_size < 0:
            raise RequestInvalid("page_size is 0 or more", field="page_size")
        size = min(page_size or self._settings.list_page_size, self._settings.max_list_page_size)
        request = fingerprint(catalog, filter)
        after = self._tokens.read_name(page_token, request=request) if page_token else ""
        node, enough = parse(filter), time.monotonic() + SCAN_SECONDS
        serving = self._versions.now.serving(catalog) if node else 0
        products: list[Product] = []
        while True:
            until = await self._store.stretch(catalog, after=after, rows=SCAN_ROWS) if node else None
            most = size + 1 - len(products)
            products += await self._store.page(
                catalog, after=after, until=until, limit=most, filter=node, embedding_version=serving
            )
            if until is None or len(products) > size or time.monotonic() >= enough:
                break
            after = until
        last = products[size - 1].id if len(products) > size else until
        return products[:size], "" if last is None else self._tokens.after_name(last, request=request)

    async def delete(self, catalog: str, product_id: str, *, allow_missing: bool, revision: int) -> None:
        """Delete a product from record and index. Raises ProductNotFound, RevisionOutdated.

        Its revision, or the one of the delete, is remembered, so that an older write that arrives late changes
        nothing.
        """
        async with self._alone(catalog, product_id):
            stored = await self._lookups.product(catalog, product_id)
            if stored and not stored.deleted:
                refuse_outdated(stored, revision)
                return await self._whole(self._delete(stored, revision))
            if not allow_missing:
                raise no_such_product(catalog, product_id)
            if revision > (stored.revision if stored else 0):
                left = Product(catalog, product_id, revision=revision, deleted=True)
                expected = stored.revision if stored else 0
                await self._store.write(
                    left, expected_revision=expected, expected_deleted=stored is not None, pending=False
                )
            await self._projection.catch_up(catalog, product_id)

    async def create(self, draft: Draft, *, deadline: Deadline) -> Written:
        """Add a product. Raises ProductExists and what `put` raises."""
        wanted = draft.product

        def change(stored: Product | None) -> Draft:
            if stored:
                name = product_name(wanted.catalog, wanted.id)
                raise ProductExists(f"there is a product {name} already", metadata={"product": name})
            return draft

        return await self._written(wanted.catalog, wanted.id, change, deadline=deadline, patient=False)

    async def update(
        self, catalog: str, product_id: str, change: Change, *, allow_missing: bool, deadline: Deadline
    ) -> Written:
        """Write what `change` makes of the product as it is; with `allow_missing` also of None.

        Raises ProductNotFound and what `put` raises.
        """

        def checked(stored: Product | None) -> Draft:
            if stored is None and not allow_missing:
                raise no_such_product(catalog, product_id)
            return change(stored)

        return await self._written(catalog, product_id, checked, deadline=deadline, patient=False)

    async def put(self, draft: Draft, *, deadline: Deadline) -> Written:
        """Add or replace a product; it waits for the models when they are busy.

        Raises ImageUnreadable, ImageTooLarge, RegionInvalid, RequestInvalid, RevisionOutdated, and the errors of the
        models, the index and the store.
        """
        wanted = draft.product
        return await self._written(wanted.catalog, wanted.id, lambda _: draft, deadline=deadline, patient=True)

    async def _written(
        self, catalog: str, product_id: str, change: Change, *, deadline: Deadline, patient: bool
    ) -> Written:
        async with self._alone(catalog, product_id):
            for attempt in itertools.count():
                stored = await self._lookups.product(catalog, product_id)
                draft = change(None if stored is None or stored.deleted else stored)
                plan = await self._planned(draft, stored, deadline=deadline, patient=patient)
                try:
                    await self._carry_out(plan)
                except (RevisionOutdated, VersionsOutdated) as error:
                    # Another process wrote meanwhile; looking again tells who is newer.
                    if attempt == CONFLICTS:
                        raise
                    if isinstance(error, VersionsOutdated):
                        await self._versions.refresh()
                else:
                    return Written(self._versions.now.shown(plan.product), plan.outcome, plan.embedded)
            raise AssertionError("counting never ends")

    async def _planned(self, draft: Draft, before: Product | None, *, deadline: Deadline, patient: bool) -> Plan:
        """What to write over what is stored now: nothing, a product, or what a deleted one left."""
        wanted = draft.product
        if before:
            refuse_outdated(before, wanted.revision)
        versions = self._versions.now
        stored = None if before is None or before.deleted else versions.living(before)
        images, contents = await resolved(draft, stored, most_bytes=self._settings.max_image_bytes)
        embedded = await self._embedder.views(
            replace(wanted, images=images), contents, stored, deadline=deadline, patient=patient
        )
        product = replace(wanted, images=images, views=embedded.views)
        return planned(product, before, versions=versions, contents=contents, embedded=embedded.new)

    async def _carry_out(self, plan: Plan) -> None:
        if plan.writes:
            await self._whole(self._write(plan))
        if plan.outcome is Outcome.UNCHANGED:
            await self._projection.catch_up(plan.product.catalog, plan.product.id)

    async def _write(self, plan: Plan) -> None:
        await asyncio.gather(*(self._images.put(content) for content in plan.contents.values()))
        pending = await self._store.write(
            plan.product,
            expected_revision=plan.before.revision if plan.before else 0,
            expected_deleted=plan.before is not None and plan.before.deleted,
            pending=plan.visible,
        )
        if pending:
            await self._projection.project(pending)

    async def _delete(self, stored: Product, revision: int) -> None:
        pending = await self._store.delete(
            stored.catalog, stored.id, expected_revision=stored.revision, revision=revision
        )
        await self._projection.project(pending)

    async def _whole(self, commit: Coroutine[Any, Any, None]) -> None:
        """Let a commit run to its end, lock and all, even when the caller goes away in the middle of it."""
        task = asyncio.create_task(commit)
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait([task])
            raise

    def _alone(self, catalog: str, product_id: str) -> asyncio.Lock:
        """The lock of a product; it lives as long as somebody holds or awaits it."""
        return self._locks.setdefault((catalog, product_id), asyncio.Lock())
