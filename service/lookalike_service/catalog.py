"""The use cases of the product side: read, list, write and delete products."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final
from weakref import WeakValueDictionary

from lookalike_service.admission import Deadline
from lookalike_service.drafts import Draft, Outcome, Written, same_content, same_to_searches
from lookalike_service.errors import ProductExists, ProductNotFound, RequestInvalid, RevisionOutdated
from lookalike_service.filter import parse
from lookalike_service.garments import Viewer
from lookalike_service.lookups import Lookups
from lookalike_service.model import GarmentFinder, Product, ProductImage
from lookalike_service.names import product_name
from lookalike_service.ports import ImageStore, Store
from lookalike_service.projection import Projection
from lookalike_service.search import checked_image
from lookalike_service.settings import Settings
from lookalike_service.tokens import Tokens, fingerprint

__all__ = ["Catalog"]

# A long body is hashed in a thread, since 20 MiB take some 15 ms.
LONG_BODY: Final = 1 << 18
CONFLICTS: Final = 3
# How many products a filtered list looks through at a time, and for how long; SQLite takes 0.2 s for as many.
SCAN_ROWS: Final = 20_000
SCAN_SECONDS: Final = 2.0

Change = Callable[[Product | None], Draft]


@dataclass(frozen=True, slots=True)
class Plan:
    """A write that is decided: what is stored, what will be, and whether searches can tell."""

    before: Product | None
    product: Product
    outcome: Outcome
    visible: bool
    contents: Mapping[str, bytes] = field(repr=False, default_factory=dict)
    embedded: int = 0


class Catalog:
    """The products of all catalogs."""

    def __init__(
        self,
        settings: Settings,
        *,
        finder: GarmentFinder,
        store: Store,
        images: ImageStore,
        projection: Projection,
        tokens: Tokens,
    ) -> None:
        self._settings = settings
        self._viewer = Viewer(finder, images)
        self._store = store
        self._lookups = Lookups(store)
        self._images = images
        self._projection = projection
        self._tokens = tokens
        self._locks: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    async def get(self, catalog: str, product_id: str) -> Product:
        """The product with its views. Raises ProductNotFound."""
        product = (await self._store.products(catalog, [product_id], views=True)).get(product_id)
        if product is None:
            raise _not_found(catalog, product_id)
        return product

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
        products: list[Product] = []
        while True:
            until = await self._store.stretch(catalog, after=after, rows=SCAN_ROWS) if node else None
            most = size + 1 - len(products)
            products += await self._store.page(catalog, after=after, until=until, limit=most, filter=node)
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
                _refuse_outdated(stored, revision)
                return await self._whole(self._delete(stored, revision))
            if not allow_missing:
                raise _not_found(catalog, product_id)
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
                raise _not_found(catalog, product_id)
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
                except RevisionOutdated:
                    # Another process wrote meanwhile; looking again tells who is newer.
                    if attempt == CONFLICTS:
                        raise
                else:
                    return Written(plan.product, plan.outcome, plan.embedded)
            raise AssertionError("counting never ends")

    async def _planned(self, draft: Draft, before: Product | None, *, deadline: Deadline, patient: bool) -> Plan:
        """What to write over what is stored now: nothing, a product, or what a deleted one left."""
        wanted = draft.product
        if before:
            _refuse_outdated(before, wanted.revision)
        stored = None if before is None or before.deleted else before
        images, contents = await self._resolved(draft, stored)
        views, embedded = await self._viewer.views(
            replace(wanted, images=images), contents, stored, deadline=deadline, patient=patient
        )
        now = datetime.now(tz=UTC)
        product = replace(
            wanted, images=images, views=views, create_time=stored.create_time if stored else now, update_time=now
        )
        if stored and same_content(product, stored):
            product = replace(stored, revision=max(stored.revision, wanted.revision))
            return Plan(before, product, Outcome.UNCHANGED, visible=False)
        if before and wanted.revision == before.revision:
            name, state = product_name(wanted.catalog, wanted.id), "stored with other content" if stored else "deleted"
            raise RevisionOutdated(
                f"revision {wanted.revision} of {name} is {state}; a change needs a higher revision, or 0"
            )
        revision = wanted.revision or max(time.time_ns() // 1000, before.revision + 1 if before else 0)
        visible = stored is None or not same_to_searches(product, stored)
        indexed = revision if visible or stored is None else stored.indexed_revision
        product = replace(product, revision=revision, indexed_revision=indexed)
        outcome = Outcome.UPDATED if stored else Outcome.CREATED
        return Plan(before, product, outcome, visible=visible, contents=contents, embedded=embedded)

    async def _carry_out(self, plan: Plan) -> None:
        if plan.before is None or plan.product.revision > plan.before.revision:
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

    async def _resolved(
        self, draft: Draft, stored: Product | None
    ) -> tuple[tuple[ProductImage, ...], dict[str, bytes]]:
        """The images by their hashes, each image and hint once, and the bytes that came along."""
        known = {image.sha256 for image in stored.images} if stored else set()
        images: dict[ProductImage, None] = {}
        contents: dict[str, bytes] = {}
        for number, image in enumerate(draft.images):
            name = f"product.images[{number}]"
            sha256 = image.sha256
            if image.content or not sha256:
                content = checked_image(
                    image.content, most_bytes=self._settings.max_image_bytes, field=f"{name}.content"
                )
                sha256 = await _sha256(content)
                contents[sha256] = content
            elif sha256 not in known:
                raise RequestInvalid(f"the product has no image {sha256!r}; send its content", field=f"{name}.id")
            images[ProductImage(sha256, image.hint)] = None
        if not images:
            raise RequestInvalid("a product needs at least one image", field="product.images")
        return tuple(images), contents

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


async def _sha256(content: bytes) -> str:
    if len(content) < LONG_BODY:
        return hashlib.sha256(content).hexdigest()
    return (await asyncio.to_thread(hashlib.sha256, content)).hexdigest()


def _refuse_outdated(stored: Product, revision: int) -> None:
    if revision and revision < stored.revision:
        state = "deleted" if stored.deleted else "stored"
        raise RevisionOutdated(
            f"revision {revision} is older than the {state} {stored.revision}",
            metadata={"stored_revision": str(stored.revision)},
        )


def _not_found(catalog: str, product_id: str) -> ProductNotFound:
    name = product_name(catalog, product_id)
    return ProductNotFound(f"there is no product {name}", metadata={"product": name})
