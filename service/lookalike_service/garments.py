"""From the images of a product to the garment views that the index holds of it."""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from lookalike_service.admission import Deadline
from lookalike_service.callers import caller
from lookalike_service.errors import LookalikeError, Overloaded, RequestInvalid
from lookalike_service.model import Found, Garment, GarmentFinder, Hint, Looks, Product, ProductImage, View
from lookalike_service.ports import ImageStore
from lookalike_service.turns import Turns

__all__ = ["Viewer", "chosen", "coarse", "looks", "looks_of", "view_id"]

# The models give every garment a trace of every colour.
LEAST_SHARE: Final = 0.1


def coarse(category: str) -> str:
    """`top` of `top/t-shirt`."""
    return category.split("/", 1)[0]


def looks(garment: Garment) -> Looks:
    """The colours that cover at least a tenth of a garment, or its largest one, and its likeliest pattern."""
    kept = [colour for colour in garment.colours if colour.score >= LEAST_SHARE] or garment.colours[:1]
    colours = {colour.name: colour.score for colour in kept}
    return Looks(colours, garment.patterns[0].name if garment.patterns else "")


def looks_of(view: View) -> Looks:
    """What `looks` said of the garment that a view shows."""
    return Looks(dict(zip(view.colours, view.shares, strict=False)), view.pattern)


def chosen(garments: Sequence[Garment], hint: Hint | None, category: str) -> Garment:
    """The garment that the image shows the product with.

    The one that the hint's box was searched for; else those whose category agrees with the hint's, or with the
    product's when there is no hint; among them, or among all when none agrees, the one with the largest product of
    area, closeness to the middle of the photo and the detector's score. A product photo shows its product large
    and in the middle, whatever the model wears with it.
    """
    wanted = coarse(hint.category if hint and hint.category else category)
    agreeing = [garment for garment in garments if wanted and coarse(garment.category) == wanted]
    return max(agreeing or garments, key=_prominence)


def _prominence(garment: Garment) -> float:
    box = garment.box
    area = (box.x1 - box.x0) * (box.y1 - box.y0)
    off_center = math.hypot((box.x0 + box.x1) / 2 - 0.5, (box.y0 + box.y1) / 2 - 0.5) / math.sqrt(0.5)
    return area * (1 - off_center) * garment.score


def view_id(product_id: str, image: ProductImage, category: str) -> str:
    """`{product}/{image}/{hint}`: the same as long as the image would give the same view."""
    hint = image.hint
    if hint and hint.box:
        which = f"box {hint.box.x0:.6f} {hint.box.y0:.6f} {hint.box.x1:.6f} {hint.box.y1:.6f}"
    else:
        which = f"category {coarse(hint.category if hint else category)}"
    # Without a category of the merchant's the view has the model's, which only embedding tells.
    which += " merchant" if category else " model"
    return f"{product_id}/{image.sha256[:32]}/{hashlib.sha256(which.encode()).hexdigest()[:8]}"


class Viewer:
    """Makes the garment views of products."""

    def __init__(self, finder: GarmentFinder, images: ImageStore) -> None:
        """`images` has what a write did not bring along."""
        self._finder = finder
        # However many products stream in, a place is left for whoever searches.
        self._places = Turns(max(1, finder.capacity - 1))
        self._images = images

    async def views(
        self,
        product: Product,
        contents: Mapping[str, bytes],
        stored: Product | None,
        *,
        deadline: Deadline,
        patient: bool,
    ) -> tuple[tuple[View, ...], int]:
        """One view per image, and how many of them are new.

        The stored view serves where image, hint and embedding version are the same. `contents` are bytes by SHA-256;
        `patient` waits for busy models until the deadline. Raises what GarmentFinder.find raises, and RequestInvalid.
        """
        version = self._finder.embedding_version
        known = {view.id: view for view in stored.views if view.embedding_version == version} if stored else {}
        views: dict[str, View] = {}
        embedded = 0
        for number, image in enumerate(product.images):
            id = view_id(product.id, image, product.category)
            view = views.get(id) or known.get(id)
            if view is None:
                field = f"product.images[{number}].content"
                content = contents.get(image.sha256) or await self._images.get(image.sha256)
                if content is None:
                    raise RequestInvalid(f"image {image.sha256} is no longer stored; send its content", field=field)
                try:
                    found = await self._find(content, image.hint, deadline=deadline, patient=patient)
                except LookalikeError as error:
                    if error.field == "image":
                        error.field = field
                    raise
                view = _view(id, image, found, product.category)
                embedded += 1
            views[id] = replace(view, category=product.category or view.category)
        return tuple(views.values()), embedded

    async def _find(self, content: bytes, hint: Hint | None, *, deadline: Deadline, patient: bool) -> Found:
        pause = 0.1
        while True:
            try:
                regions = [hint.box] if hint and hint.box else []
                async with self._places.held(caller.get().name):
                    return await self._finder.find(content, regions=regions, timeout=deadline.remaining())
            except Overloaded:
                # An import holds its sender back instead of failing; searches come first.
                if not patient or deadline.remaining() < 2 * pause:
                    raise
                await asyncio.sleep(pause)
                pause = min(2.0, pause * 2)


def _view(id: str, image: ProductImage, found: Found, category: str) -> View:
    garment = chosen(found.garments, image.hint, category)
    seen = looks(garment)
    return View(
        id=id,
        image_sha256=image.sha256,
        box=garment.box,
        category=garment.category,
        colours=tuple(seen.colours),
        shares=tuple(round(share, 3) for share in seen.colours.values()),
        pattern=seen.pattern,
        embedding_version=found.embedding_version,
        embedding=garment.embedding.astype(np.float16),
    )
