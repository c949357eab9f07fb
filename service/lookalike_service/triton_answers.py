"""Read the ensemble's arrays: from what Triton answered to the garments of a photo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from lookalike_service.model import Box, Garment, Label, Source, Vocabularies
from lookalike_service.refining import boxes_around_masks, weighed_score, without_doubles

__all__ = ["Arrays", "read_garments"]

Arrays = Mapping[str, npt.NDArray[Any]]

# What is less likely is nobody's answer, and two labels in three.
_LEAST: Final = 0.01


def read_garments(arrays: Arrays, *, vocabularies: Vocabularies, detected: Sequence[str]) -> tuple[Garment, ...]:
    """Turn the outputs of an ensemble, each with one row per garment, into garments.

    `detected` are the detector's own classes. A detection's box is drawn to its mask and its score weighed with what
    the later stages saw (refining.py); detections come surest first, regions in the order asked for. Landmarks move
    from the crop to the photo; labels are sorted, likeliest first. A head that the encoder lacks has no vocabulary,
    and its output, if there is one, is left out.
    """
    drawn, certainties = boxes_around_masks(
        arrays["mask"], crop_boxes=arrays["crop_box"], detected=arrays["garment_box"]
    )
    # Lists at once for all garments: an array is dear to take a number from.
    rows = zip(
        map(Source, arrays["source"].tolist()),
        arrays["garment_class"].tolist(),
        arrays["garment_score"].tolist(),
        arrays["garment_box"].tolist(),
        drawn.tolist(),
        certainties.tolist(),
        arrays["crop_box"].tolist(),
        _chances(vocabularies.category, arrays.get("category"), len(drawn)),
        _chances(vocabularies.colour, arrays.get("colours"), len(drawn)),
        _chances(vocabularies.pattern, arrays.get("pattern"), len(drawn)),
        _chances(vocabularies.material, arrays.get("material"), len(drawn)),
        _on_photo(arrays["keypoints"], arrays["crop_box"]),
        arrays["mask"],
        arrays["embedding"],
        strict=True,
    )
    garments = []
    for source, number, score, box, around, certainty, crop, categories, colours, patterns, materials, *arrayed in rows:
        coarse = _coarse(categories)
        garment_class = detected[number] if 0 <= number < len(detected) else ""
        if source is Source.DETECTED:
            box, score = around, weighed_score(score, certainty=certainty, agreement=coarse.get(garment_class))
        landmarks, mask, embedding = arrayed
        garments.append(
            Garment(
                box=Box(*box),
                crop_box=Box(*crop),
                score=score,
                source=source,
                category=max(coarse, key=coarse.__getitem__, default=garment_class),
                categories=_labels(categories, least=_LEAST),
                colours=_labels(colours, least=0.0),
                patterns=_labels(patterns, least=_LEAST),
                materials=_labels(materials, least=_LEAST),
                landmarks=landmarks,
                mask=mask,
                embedding=embedding,
                detected=garment_class,
            )
        )
    if all(garment.source is Source.DETECTED for garment in garments):
        garments = without_doubles(sorted(garments, key=lambda garment: -garment.score))
    return tuple(garments)


def _chances(
    names: Sequence[str], scores: npt.NDArray[np.float32] | None, garments: int
) -> list[Sequence[tuple[str, float]]]:
    """What each garment may be and how likely; nothing where there is no such head."""
    if scores is None or not names:
        return [()] * garments
    return [list(zip(names, row, strict=True)) for row in scores.tolist()]


def _labels(chances: Sequence[tuple[str, float]], *, least: float) -> tuple[Label, ...]:
    """Likeliest first: those that are likelier than `least`, and in any case the likeliest, if it is likely at all."""
    ranked = sorted(chances, key=lambda pair: -pair[1])
    bound = min(least, ranked[0][1] / 2) if ranked else least
    return tuple(Label(name, score) for name, score in ranked if score > bound)


def _coarse(categories: Sequence[tuple[str, float]]) -> dict[str, float]:
    """Summed probability of each part before the slash; empty when there is no such head."""
    sums: dict[str, float] = {}
    for name, score in categories:
        coarse = name.partition("/")[0]
        sums[coarse] = sums.get(coarse, 0.0) + score
    return sums


def _on_photo(keypoints: npt.NDArray[np.float32], crop_boxes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Landmarks (k, 8, 3) with x and y on the photo instead of on the crops (k, 4)."""
    landmarks = keypoints.copy()
    landmarks[..., :2] = crop_boxes[:, None, :2] + keypoints[..., :2] * (crop_boxes[:, 2:] - crop_boxes[:, :2])[:, None]
    return landmarks
