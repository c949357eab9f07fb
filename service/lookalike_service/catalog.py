"""The use cases of the product side: read, list, write and delete products."""

from __future__ import annotations

import asyncio
import enum
import hashlib
import json
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final
from weakref import WeakValueDictionary

from lookalike_service.admission import Deadline
from lookalike_service.errors import (
    ProductExists,
    ProductNotFound,
    RequestInvalid,
    RevisionOutdated,
)
from lookalike_service.filter import parse
from lookalike_service.garments import Viewer
from lookalike_service.model import GarmentFinder, Hint, Product, ProductImage
from lookalike_service.names import product_name
from lookalike_service.ports import ImageStore, Store
from lookalike_service.projection import Projection
from lookalike_service.search import checked_image
from lookalike_service.settings import Settings
from lookalike_service.tokens import Tokens, fingerprint

__all__ = ["Catalog", "Draft", "NewImage", "Outcome", "Written"]

# A long body is hashed in a thread, since 20 MiB take some 15 ms.
LONG_BODY: Final = 1 << 18
CONFLICTS: Final = 3


class Outcome(enum.Enum):
    """What became of a write."""

    CREATED = 1
    UPDATED = 2
    UNCHANGED = 3


@dataclass(frozen=True, slots=True)
class NewImage:
    """An image of a draft: its bytes, or the SHA-256 of one that the product has already."""

    content: bytes = field(repr=False, default=b"")
    sha256: str = ""
    hint: Hint | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    """A product as its sender wants it; the product's own images are ignored, and revision 0 lets us count."""

    product: Product
    images: tuple[NewImage, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """The product as it now is, and how many of its views this write embedded."""

    product: Product
    outcome: Outcome
    embedded: int


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
        """A page of products in the order of their ids, and the token of the next one."""
        if page_size < 0:
            raise RequestInvalid("page_size is 0 or more", field="page_size")
        size = min(page_size or self._settings.list_page_size, self._settings.max_list_page_size)
        request = fingerprint(catalog, filter)
        after = self._tokens.read_name(page_token, request=request) if page_token else ""
        products = await self._store.page(catalog, after=after, limit=size + 1, filter=parse(filter))
        more = len(products) > size
        return products[:size], self._tokens.after_name(products[size - 1].id, request=request) if more else ""

    async def delete(self, catalog: str, product_id: str, *, allow_missing: bool, revision: int) -> None:
        """Delete a product from record and index. Raises ProductNotFound, RevisionOutdated."""
        async with self._alone(catalog, product_id):
            stored = (await self._store.products(catalog, [product_id])).get(product_id)
            if stored is None:
                if allow_missing:
                    return await self._projection.catch_up(catalog, product_id)
                raise _not_found(catalog, product_id)
            _refuse_outdated(stored, revision)
            await self._whole(self._delete(stored))

    async def create(self, draft: Draft, *, deadline: Deadline) -> Written:
        """Add a product. Raises ProductExists and what `put` raises."""
        product = draft.product
        async with self._alone(product.catalog, product.id):
            if await self._store.products(product.catalog, [product.id]):
                name = product_name(product.catalog, product.id)
                raise ProductExists(f"there is a product {name} already", metadata={"product": name})
            return await self._put(draft, deadline=deadline, patient=False)

    async def put(self, draft: Draft, *, deadline: Deadline) -> Written:
        """Add or replace a product; it waits for the models when they are busy.

        Raises ImageUnreadable, ImageTooLarge, RegionInvalid, RequestInvalid, RevisionOutdated, and the errors of the
        models, the index and the store.
        """
        async with self._alone(draft.product.catalog, draft.product.id):
            for _ in range(CONFLICTS):
                try:
                    return await self._put(draft, deadline=deadline, patient=True)
                except RevisionOutdated:
                    # Another process was faster; without a revision of the sender's, ours is the next one.
                    if draft.product.revision:
                        raise
            return await self._put(draft, deadline=deadline, patient=True)

    async def _put(self, draft: Draft, *, deadline: Deadline, patient: bool) -> Written:
        wanted = draft.product
        stored = (await self._store.products(wanted.catalog, [wanted.id], views=True)).get(wanted.id)
        if stored:
            _refuse_outdated(stored, wanted.revision)
        images, contents = await self._resolved(draft, stored)
        views, embedded = await self._viewer.views(
            replace(wanted, images=images), contents, stored, deadline=deadline, patient=patient
        )
        now = datetime.now(tz=UTC)
        product = replace(
            wanted, images=images, views=views, create_time=stored.create_time if stored else now, update_time=now
        )
        if stored and _content(product) == _content(stored):
            return Written(await self._unchanged(stored, wanted.revision), Outcome.UNCHANGED, 0)
        if stored and wanted.revision == stored.revision:
            raise RevisionOutdated(
                f"revision {wanted.revision} of {product_name(wanted.catalog, wanted.id)} is stored with other "
                "content; a change needs a higher revision, or 0"
            )
        revision = wanted.revision or max(time.time_ns() // 1000, stored.revision + 1 if stored else 0)
        visible = stored is None or _searchable(product) != _searchable(stored)
        indexed = revision if visible or stored is None else stored.indexed_revision
        product = replace(product, revision=revision, indexed_revision=indexed)
        await self._whole(self._write(product, contents, expected=stored.revision if stored else 0, visible=visible))
        return Written(product, Outcome.UPDATED if stored else Outcome.CREATED, embedded)

    async def _unchanged(self, stored: Product, revision: int) -> Product:
        if revision > stored.revision:
            newer = replace(stored, revision=revision)
            await self._store.write(newer, expected_revision=stored.revision, pending=False)
            stored = newer
        await self._projection.catch_up(stored.catalog, stored.id)
        return stored

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

    async def _write(self, product: Product, contents: dict[str, bytes], *, expected: int, visible: bool) -> None:
        await asyncio.gather(*(self._images.put(content) for content in contents.values()))
        pending = await self._store.write(product, expected_revision=expected, pending=visible)
        if pending:
            await self._projection.project(pending)

    async def _delete(self, stored: Product) -> None:
        pending = await self._store.delete(stored.catalog, stored.id, expected_revision=stored.revision)
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


def _content(product: Product) -> tuple[Product, str]:
    """The product without what every write changes, to be compared; 1 and true are equal in Python but not in JSON."""
    same = replace(product, revision=0, indexed_revision=0, create_time=None, update_time=None)
    return same, json.dumps(dict(product.attributes), sort_keys=True)


def _searchable(product: Product) -> object:
    """What the index holds of a product; a change of anything else never touches it."""
    price = product.price.amount_minor if product.price else None
    return product.brand, price, product.available, json.dumps(dict(product.attributes), sort_keys=True), product.views


def _refuse_outdated(stored: Product, revision: int) -> None:
    if revision and revision < stored.revision:
        raise RevisionOutdated(
            f"revision {revision} is older than the stored {stored.revision}",
            metadata={"stored_revision": str(stored.revision)},
        )


def _not_found(catalog: str, product_id: str) -> ProductNotFound:
    name = product_name(catalog, product_id)
    return ProductNotFound(f"there is no product {name}", metadata={"product": name})
