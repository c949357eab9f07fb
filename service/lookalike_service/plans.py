"""What a write will do, decided from what is stored and what is wanted: nothing, a new product, or a change."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

from lookalike_service.drafts import Draft, Outcome, same_content, same_to_searches
from lookalike_service.errors import RequestInvalid, RevisionOutdated
from lookalike_service.model import Product, ProductImage
from lookalike_service.names import product_name
from lookalike_service.search import checked_image
from lookalike_service.versions import Snapshot

__all__ = ["Plan", "planned", "refuse_outdated", "resolved"]

# A long body is hashed in a thread, since 20 MiB take some 15 ms.
LONG_BODY: Final = 1 << 18


@dataclass(frozen=True, slots=True)
class Plan:
    """A write that is decided: what is stored, what will be, and whether searches can tell."""

    before: Product | None
    product: Product
    outcome: Outcome
    visible: bool
    contents: Mapping[str, bytes] = field(repr=False, default_factory=dict)
    embedded: int = 0

    @property
    def writes(self) -> bool:
        """Whether anything has to be stored."""
        return self.before is None or self.product.revision > self.before.revision


async def resolved(
    draft: Draft, stored: Product | None, *, most_bytes: int
) -> tuple[tuple[ProductImage, ...], dict[str, bytes]]:
    """The images by their hashes, each image and hint once, and the bytes that came along.

    Raises RequestInvalid, ImageUnreadable, and ImageTooLarge for more than `most_bytes`.
    """
    known = {image.sha256 for image in stored.images} if stored else set()
    images: dict[ProductImage, None] = {}
    contents: dict[str, bytes] = {}
    for number, image in enumerate(draft.images):
        name = f"product.images[{number}]"
        sha256 = image.sha256
        if image.content or not sha256:
            content = checked_image(image.content, most_bytes=most_bytes, field=f"{name}.content")
            sha256 = await _sha256(content)
            contents[sha256] = content
        elif sha256 not in known:
            raise RequestInvalid(f"the product has no image {sha256!r}; send its content", field=f"{name}.id")
        images[ProductImage(sha256, image.hint)] = None
    if not images:
        raise RequestInvalid("a product needs at least one image", field="product.images")
    return tuple(images), contents


def planned(
    wanted: Product,
    before: Product | None,
    *,
    versions: Snapshot,
    contents: Mapping[str, bytes] | None = None,
    embedded: int = 0,
) -> Plan:
    """What to write over `before`: nothing, a product, or what a deleted one left.

    `wanted` has its images and its views of the embedding versions of its catalog; its revision 0 lets us count.
    Raises RevisionOutdated.
    """
    stored = None if before is None or before.deleted else versions.living(before)
    if before:
        refuse_outdated(before, wanted.revision)
    now = datetime.now(tz=UTC)
    product = replace(wanted, create_time=stored.create_time if stored else now, update_time=now)
    if stored and _unchanged(product, stored, versions, exactly=wanted.revision != stored.revision):
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
    return Plan(before, product, outcome, visible=visible, contents=contents or {}, embedded=embedded)


def refuse_outdated(stored: Product, revision: int) -> None:
    """Raises RevisionOutdated when the revision is older than what is stored, or than what was deleted."""
    if revision and revision < stored.revision:
        state = "deleted" if stored.deleted else "stored"
        raise RevisionOutdated(
            f"revision {revision} is older than the {state} {stored.revision}",
            metadata={"stored_revision": str(stored.revision)},
        )


def _unchanged(product: Product, stored: Product, versions: Snapshot, *, exactly: bool) -> bool:
    """Whether the content is the same; what another version lacks of it is none, unless `exactly` is asked."""
    if exactly:
        return same_content(product, stored)
    return same_content(versions.shown(product), versions.shown(stored))


async def _sha256(content: bytes) -> str:
    if len(content) < LONG_BODY:
        return hashlib.sha256(content).hexdigest()
    return (await asyncio.to_thread(hashlib.sha256, content)).hexdigest()
