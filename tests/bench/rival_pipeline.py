"""What both rivals do with a photo: the served glue and graphs in their own process, then the shelf."""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import faiss
import numpy as np
import numpy.typing as npt
import orjson

from bench.rival_shelf import Shelf
from lookalike_service.model import Garment, Label, Vocabularies
from lookalike_service.triton_answers import read_garments
from support_direct import Arrays, DirectPipeline
from support_glue import REPOSITORY

__all__ = ["Looker", "Reply", "Searcher"]

# As in embed/config.pbtxt; larger runs cost a CPU as much per row, and more memory.
ROWS_PER_RUN: Final = 8


class Looker(DirectPipeline):
    """The direct pipeline for several photos at once; several threads may share one."""

    def __init__(self, *, intra_op: int, spinning: bool) -> None:
        """`intra_op` is the number of threads within each graph, `spinning` how they wait for each other."""
        super().__init__(REPOSITORY, threads=intra_op, spinning=spinning)
        cv2.setNumThreads(intra_op)
        labels = REPOSITORY / "embed" / "labels"
        self._vocabularies = Vocabularies(
            *(_words(labels / f"{name}.txt") for name in ("category", "pattern", "material", "colour"))
        )
        self._detected = _words(REPOSITORY / "detect" / "labels" / "garment.txt")

    def decoded(self, image: bytes) -> npt.NDArray[np.uint8]:
        """Upright pixels; raises ValueError for what is no image."""
        limits = self._decoding.Limits(
            max_bytes=int(self._decode["max_bytes"]),
            max_pixels=int(self._decode["max_pixels"]),
            longest_side=int(self._decode["longest_side"]),
        )
        pixels: npt.NDArray[np.uint8] = self._decoding.decode(image, limits=limits)
        return pixels

    def look(self, photos: Sequence[npt.NDArray[np.uint8]]) -> list[tuple[Garment, ...]]:
        """The garments of each of the photos, described in common runs."""
        return [
            read_garments(arrays, vocabularies=self._vocabularies, detected=self._detected)
            for arrays in self._found(photos)
        ]

    def _found(self, photos: Sequence[npt.NDArray[np.uint8]]) -> list[Arrays]:
        """What `find` answers for each of the photos."""
        garments = self._chosen_together(photos)
        size, context = int(self._crop["crop_size"]), float(self._crop["context"])
        cuts = [
            self._cropping.cut(pixels, each, size=size, context=context)
            for pixels, each in zip(photos, garments, strict=True)
        ]
        arrays = self._described(np.concatenate([crops for crops, _ in cuts]))
        ends = np.cumsum([len(crops) for crops, _ in cuts])[:-1]
        split = {name: np.split(array, ends) for name, array in arrays.items()}
        return [
            {
                "crop_box": crop_box,
                "garment_box": each.boxes,
                "garment_score": each.scores,
                "garment_class": each.classes,
                "source": each.sources,
                **{name: parts[n] for name, parts in split.items()},
            }
            for n, (each, (_, crop_box)) in enumerate(zip(garments, cuts, strict=True))
        ]

    def _chosen_together(self, photos: Sequence[npt.NDArray[np.uint8]]) -> list[Any]:
        size = int(self._decode["letterbox_size"])
        squares, frames = zip(*(self._decoding.letterbox(pixels, size=size) for pixels in photos), strict=True)
        rows = self._run("detect", letterbox=np.concatenate(squares))
        wanted = self._cropping.Options.read(
            np.zeros(2, np.float32),
            default_min_score=float(self._crop["default_min_score"]),
            default_max_garments=int(self._crop["default_max_garments"]),
        )
        return [
            self._cropping.detected(**{name: array[n] for name, array in rows.items()}, frame=frame[0], options=wanted)
            for n, frame in enumerate(frames)
        ]

    def _described(self, crops: npt.NDArray[np.uint8]) -> Arrays:
        runs = []
        for begin in range(0, len(crops), ROWS_PER_RUN):
            part = crops[begin : begin + ROWS_PER_RUN]
            seen = {**self._run("keypoints", crops=part), **self._run("segment", crops=part)}
            runs.append({**seen, **self._run("embed", crops=part, **seen)})
        return runs[0] if len(runs) == 1 else {name: np.concatenate([run[name] for run in runs]) for name in runs[0]}


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer over HTTP: status, JSON body, and how many garments it describes."""

    status: int
    body: bytes
    garments: int = 0

    @classmethod
    def failure(cls, status: int, message: str) -> Reply:
        """An answer that says what is wrong."""
        return cls(status, orjson.dumps({"error": message}))


class Searcher:
    """Photos in, garments with their nearest products out; several threads may share one."""

    def __init__(self, looker: Looker, shelf: Shelf) -> None:
        """Searches once, for the first run of a session allocates."""
        self._looker = looker
        self._shelf = shelf
        self._usual_seconds = 0.0
        faiss.omp_set_num_threads(1)
        self._looker.look([np.full((640, 480, 3), 114, np.uint8)])
        gc.collect()
        gc.freeze()  # what was loaded stays; collections need not look at it again

    def can_answer_by(self, deadline: float | None) -> bool:
        """Whether a photo taken up now is answered by that monotonic time, if it takes as long as others did lately.

        Work that would be done for nobody is then left undone, which under overload answers others in time.
        """
        return deadline is None or time.monotonic() + self._usual_seconds < deadline

    def search(self, images: Sequence[bytes]) -> list[Reply]:
        """Answer each encoded photo; one that is no image fails alone, with status 400."""
        began = time.monotonic()
        replies = self._answered(images)
        if images:
            self._usual_seconds += 0.1 * (time.monotonic() - began - self._usual_seconds)
        return replies

    def _answered(self, images: Sequence[bytes]) -> list[Reply]:
        replies: dict[int, Reply] = {}
        photos: dict[int, npt.NDArray[np.uint8]] = {}
        for n, image in enumerate(images):
            try:
                photos[n] = self._looker.decoded(image)
            except ValueError as error:
                replies[n] = Reply.failure(400, str(error))
        if photos:
            seen = self._looker.look(list(photos.values()))
            replies.update(zip(photos, map(self._reply, seen), strict=True))
        return [replies[n] for n in range(len(images))]

    def _reply(self, garments: Sequence[Garment]) -> Reply:
        nearest = self._shelf.nearest(np.stack([garment.embedding for garment in garments]))
        answers = [
            {**_described(garment), "products": products} for garment, products in zip(garments, nearest, strict=True)
        ]
        return Reply(200, orjson.dumps({"garments": answers}), len(garments))


def _described(garment: Garment) -> dict[str, Any]:
    box = garment.box
    return {
        "box": (box.x0, box.y0, box.x1, box.y1),
        "score": garment.score,
        "category": garment.category,
        "colors": _shares(garment.colours),
        "patterns": _shares(garment.patterns),
        "materials": _shares(garment.materials),
    }


def _shares(labels: Sequence[Label]) -> dict[str, float]:
    return {label.name: label.score for label in labels}


def _words(path: Path) -> tuple[str, ...]:
    return tuple(path.read_text(encoding="utf-8").split())
