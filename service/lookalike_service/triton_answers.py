"""Read the ensemble's arrays: from what Triton answered to the garments of a photo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lookalike_service.model import Box, Garment, Label, Source, Vocabularies
from lookalike_service.refining import box_around_mask, weighed_score, without_doubles

__all__ = ["Arrays", "read_garments"]

Arrays = Mapping[str, npt.NDArray[Any]]


def read_garments(arrays: Arrays, *, vocabularies: Vocabularies, detected: Sequence[str]) -> tuple[Garment, ...]:
    """Turn the outputs of an ensemble, each with one row per garment, into garments.

    `detected` are the detector's own classes. A detection's box is drawn to its mask and its score weighed with what
    the later stages saw (refining.py); detections come surest first, regions in the order asked for. Landmarks move
    from the crop to the photo; labels are sorted, likeliest first. A head that the encoder lacks has no vocabulary,
    and its output, if there is one, is left out.
    """
    garments = [_garment(arrays, row, vocabularies, detected) for row in range(len(arrays["embedding"]))]
    if all(garment.source is Source.DETECTED for garment in garments):
        garments = without_doubles(sorted(garments, key=lambda garment: -garment.score))
    return tuple(garments)


def _garment(arrays: Arrays, row: int, vocabularies: Vocabularies, detected: Sequence[str]) -> Garment:
    crop_box = _box(arrays["crop_box"][row])
    categories = _labels(vocabularies.category, arrays.get("category"), row)
    chances = _coarse_chances(categories)
    source = Source(int(arrays["source"][row]))
    box, score = _box(arrays["garment_box"][row]), float(arrays["garment_score"][row])
    garment_class = _detected(detected, int(arrays["garment_class"][row]))
    if source is Source.DETECTED:
        box, certainty = box_around_mask(arrays["mask"][row], crop_box=crop_box, detected=box)
        score = weighed_score(score, certainty=certainty, agreement=chances.get(garment_class))
    return Garment(
        box=box,
        crop_box=crop_box,
        score=score,
        source=source,
        category=max(chances, key=chances.__getitem__, default=garment_class),
        categories=categories,
        colours=tuple(label for label in _labels(vocabularies.colour, arrays.get("colours"), row) if label.score > 0),
        patterns=_labels(vocabularies.pattern, arrays.get("pattern"), row),
        materials=_labels(vocabularies.material, arrays.get("material"), row),
        landmarks=_on_photo(arrays["keypoints"][row], crop_box),
        mask=arrays["mask"][row],
        embedding=arrays["embedding"][row],
        detected=garment_class,
    )


def _box(corners: npt.NDArray[np.float32]) -> Box:
    x0, y0, x1, y1 = corners.tolist()
    return Box(x0, y0, x1, y1)


def _labels(names: Sequence[str], scores: npt.NDArray[np.float32] | None, row: int) -> tuple[Label, ...]:
    if scores is None or not names:
        return ()
    ranked = sorted(zip(names, scores[row].tolist(), strict=True), key=lambda pair: -pair[1])
    return tuple(Label(name, score) for name, score in ranked)


def _detected(names: Sequence[str], number: int) -> str:
    return names[number] if 0 <= number < len(names) else ""


def _coarse_chances(categories: Sequence[Label]) -> dict[str, float]:
    """Summed probability of each part before the slash; empty when there is no such head."""
    sums: dict[str, float] = {}
    for label in categories:
        coarse = label.name.partition("/")[0]
        sums[coarse] = sums.get(coarse, 0.0) + label.score
    return sums


def _on_photo(keypoints: npt.NDArray[np.float32], crop_box: Box) -> npt.NDArray[np.float32]:
    landmarks = keypoints.copy()
    landmarks[:, 0] = crop_box.x0 + keypoints[:, 0] * (crop_box.x1 - crop_box.x0)
    landmarks[:, 1] = crop_box.y0 + keypoints[:, 1] * (crop_box.y1 - crop_box.y0)
    return landmarks
