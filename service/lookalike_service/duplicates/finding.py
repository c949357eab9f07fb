"""Finds the same picture under two products of a catalog: looks at new photos, pairs them, compares the pairs."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from lookalike_service.duplicates.comparing import compare
from lookalike_service.duplicates.fingerprints import codes_in, fingerprint, packed, unpacked
from lookalike_service.duplicates.notebook import Notebook, Pair, Photo
from lookalike_service.duplicates.progress import Progress, batches
from lookalike_service.duplicates.report import Report, Trouble, grouped
from lookalike_service.duplicates.shelf import Shelf, Vocabulary, Words, train
from lookalike_service.errors import ImageUnreadable
from lookalike_service.model import Box
from lookalike_service.ports import ImageStore, Store

__all__ = ["DuplicateFinder"]

MOST_PRODUCTS: Final = 500
# How much is done before it is kept: what an interruption costs.
PHOTOS_AT_ONCE: Final = 128
PAIRS_AT_ONCE: Final = 1024
PAIRS_PER_TASK: Final = 32
# Photos that share the most with each are compared with it.
NEIGHBORS: Final = 16
# Photos whose codes a vocabulary is found in; they have about a hundred each.
SAMPLE: Final = 600

# A fingerprint, and where the garment is.
Side = tuple[bytes, Box]


class DuplicateFinder:
    """Works in steps, each kept in the notebook: an interrupted run goes on where it was."""

    def __init__(self, *, store: Store, images: ImageStore, notebook: Notebook, workers: int = 0) -> None:
        """`workers` threads look and compare, 0 for one per core."""
        self._store = store
        self._images = images
        self._notebook = notebook
        self._workers = workers or len(os.sched_getaffinity(0))

    async def find(self, catalog: str, *, mirrored: bool = False) -> Report:
        """Look at a catalog; with `mirrored` pictures that are each other's mirror image count too.

        Photos that are gone or unreadable are named in the report. Raises StartupError, StoreUnavailable.
        """
        before = cv2.getNumThreads()
        # Photos and pairs are many and small: one thread each, not all for one.
        cv2.setNumThreads(1)
        try:
            with ThreadPoolExecutor(self._workers) as pool:
                return await self._found(Report(catalog), pool, mirrored=mirrored)
        finally:
            cv2.setNumThreads(before)

    async def _found(self, report: Report, pool: ThreadPoolExecutor, *, mirrored: bool) -> Report:
        await self._list(report)
        await self._look(report, pool)
        for how in (False, True)[: 1 + mirrored]:
            await self._pair(report.catalog, pool, mirrored=how)
        await self._judge(pool)
        report.groups = grouped(self._notebook, mirrored=mirrored)
        return report

    async def _list(self, report: Report) -> None:
        self._notebook.forget_shown()
        after = ""
        while page := await self._store.page(report.catalog, after=after, limit=MOST_PRODUCTS, views=True):
            report.products += len(page)
            self._notebook.show(
                Photo(view.image_sha256, product.id, view.box) for product in page for view in product.views
            )
            after = page[-1].id
        report.photos = self._notebook.photos()

    async def _look(self, report: Report, pool: ThreadPoolExecutor) -> None:
        """Make the fingerprints that are missing."""
        loop = asyncio.get_running_loop()

        async def looked(photo: str) -> tuple[str, bytes | Trouble]:
            content = await self._images.get(photo)
            if content is None:
                return photo, Trouble.GONE
            try:
                return photo, await loop.run_in_executor(pool, _made, content)
            except ImageUnreadable:
                return photo, Trouble.UNREADABLE

        unseen = self._notebook.unseen()
        progress = Progress("looked at", "photos", len(unseen))
        for batch in batches(unseen, PHOTOS_AT_ONCE):
            results = await asyncio.gather(*map(looked, batch))
            self._notebook.add_fingerprints((photo, made) for photo, made in results if isinstance(made, bytes))
            for photo, made in results:
                if isinstance(made, Trouble):
                    report.note(made, photo, self._notebook.shown_by(photo))
            report.looked_at += len(batch)
            progress.advance(len(batch))

    async def _pair(self, catalog: str, pool: ThreadPoolExecutor, *, mirrored: bool) -> None:
        """Look for neighbors of the photos that are new, among all photos."""
        loop = asyncio.get_running_loop()
        new = self._notebook.unshelved(catalog, mirrored=mirrored)
        vocabulary = await loop.run_in_executor(pool, self._vocabulary) if new else None
        if vocabulary is None:
            return
        names: list[str] = []
        words: list[Words] = []
        for kept in batches(self._notebook.fingerprints(), PHOTOS_AT_ONCE):
            names += [name for name, _ in kept]
            words += await loop.run_in_executor(pool, _read, vocabulary, [content for _, content in kept])
        shelf = Shelf(words, vocabulary)
        progress = Progress("paired", "photos", len(new))
        for batch in batches([number for number, name in enumerate(names) if name in new], PHOTOS_AT_ONCE):
            asked = {
                names[number]: self._mirrored_words(names[number], vocabulary) if mirrored else words[number]
                for number in batch
            }
            near = await loop.run_in_executor(pool, _nearest, shelf, list(asked.values()))
            pairs = [
                Pair(min(photo, other), max(photo, other), mirrored)
                for photo, numbers in zip(asked, near, strict=True)
                for other in (names[number] for number in numbers)
                if self._across(photo, other)
            ]
            self._notebook.add_pairs(catalog, asked, pairs, mirrored=mirrored)
            progress.advance(len(batch))

    def _vocabulary(self) -> Vocabulary | None:
        """Found in the codes of photos taken evenly; None where no photo has any."""
        apart = max(1, self._notebook.photos() // SAMPLE)
        sample = [codes_in(content) for _, content in itertools.islice(self._notebook.fingerprints(), 0, None, apart)]
        every = [codes for codes in sample if len(codes)]
        return train(np.concatenate(every)) if every else None

    def _mirrored_words(self, photo: str, vocabulary: Vocabulary) -> Words:
        return vocabulary.words(unpacked(self._notebook.fingerprint(photo)).mirrored().codes)

    def _across(self, photo: str, other: str) -> bool:
        """Whether two photos are two, and of different products."""
        if photo == other:
            return False
        products = {shown.product for each in (photo, other) for shown in self._notebook.shown_by(each)}
        return len(products) > 1

    async def _judge(self, pool: ThreadPoolExecutor) -> None:
        loop = asyncio.get_running_loop()
        progress = Progress("compared", "pairs", self._notebook.unjudged())
        while pairs := self._notebook.next_unjudged(PAIRS_AT_ONCE):
            waiting = [(pair, self._side(pair.one), self._side(pair.other)) for pair in pairs]
            tasks = [loop.run_in_executor(pool, _judged, each) for each in batches(waiting, PAIRS_PER_TASK)]
            self._notebook.judge([judged for each in await asyncio.gather(*tasks) for judged in each])
            progress.advance(len(pairs))

    def _side(self, photo: str) -> Side:
        return self._notebook.fingerprint(photo), self._notebook.shown_by(photo)[0].box


def _made(content: bytes) -> bytes:
    return packed(fingerprint(content))


def _read(vocabulary: Vocabulary, contents: Sequence[bytes]) -> list[Words]:
    return [vocabulary.words(codes_in(content)) for content in contents]


def _nearest(shelf: Shelf, asked: Sequence[Words]) -> list[npt.NDArray[np.intp]]:
    # One more than wanted: a photo is nearest to itself.
    return [shelf.nearest(words, count=NEIGHBORS + 1) for words in asked]


def _judged(waiting: Sequence[tuple[Pair, Side, Side]]) -> list[tuple[Pair, bool]]:
    # Those of one photo come together, so that it is unpacked once.
    contents = {pair.one: one for pair, (one, _), _ in waiting} | {pair.other: other for pair, _, (other, _) in waiting}
    seen = {photo: unpacked(content) for photo, content in contents.items()}
    judged = []
    for pair, (_, here), (_, there) in waiting:
        found = compare(seen[pair.one], seen[pair.other], boxes=(here, there), mirrored=pair.mirrored)
        judged.append((replace(pair, different=found.different), found.same))
    return judged
