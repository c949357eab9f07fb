"""Queries and answers of the contract as values, and back."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf import duration_pb2

from lookalike.v1 import garment_pb2, search_service_pb2
from lookalike_service import masks
from lookalike_service.errors import RequestInvalid
from lookalike_service.model import Box, Garment, Label, Source
from lookalike_service.queries import CategoryMode, PhotoQuery, Region, Seen, Terms
from lookalike_service.telemetry import Timings

__all__ = [
    "box_message",
    "box_value",
    "garment_message",
    "photo_of",
    "terms_of",
    "timings_message",
]

SOURCES = {
    Source.DETECTED: garment_pb2.GARMENT_SOURCE_DETECTED,
    Source.REGION: garment_pb2.GARMENT_SOURCE_REGION,
    Source.WHOLE_IMAGE: garment_pb2.GARMENT_SOURCE_WHOLE_IMAGE,
}
MODES = {
    search_service_pb2.CATEGORY_MODE_UNSPECIFIED: CategoryMode.OFF,
    search_service_pb2.CATEGORY_MODE_OFF: CategoryMode.OFF,
    search_service_pb2.CATEGORY_MODE_PREFER: CategoryMode.PREFER,
    search_service_pb2.CATEGORY_MODE_STRICT: CategoryMode.STRICT,
}
LANDMARKS = (
    garment_pb2.LANDMARK_TYPE_LEFT_COLLAR,
    garment_pb2.LANDMARK_TYPE_RIGHT_COLLAR,
    garment_pb2.LANDMARK_TYPE_LEFT_SLEEVE,
    garment_pb2.LANDMARK_TYPE_RIGHT_SLEEVE,
    garment_pb2.LANDMARK_TYPE_LEFT_WAIST,
    garment_pb2.LANDMARK_TYPE_RIGHT_WAIST,
    garment_pb2.LANDMARK_TYPE_LEFT_HEM,
    garment_pb2.LANDMARK_TYPE_RIGHT_HEM,
)
MASK_FORMATS = (
    garment_pb2.MASK_FORMAT_UNSPECIFIED,
    garment_pb2.MASK_FORMAT_RUN_LENGTH,
    garment_pb2.MASK_FORMAT_POLYGON,
)

Photo = search_service_pb2.SearchProductsRequest | search_service_pb2.AnalyzeImageRequest
Searching = search_service_pb2.SearchProductsRequest | search_service_pb2.ListSimilarProductsRequest


def box_value(message: garment_pb2.Box) -> Box:
    """The box as sent, unchecked."""
    return Box(message.x0, message.y0, message.x1, message.y1)


def box_message(box: Box) -> garment_pb2.Box:
    """The box as the contract writes it."""
    return garment_pb2.Box(x0=box.x0, y0=box.y0, x1=box.x1, y1=box.y1)


def photo_of(request: Photo) -> PhotoQuery:
    """The photo to look at, and where. Raises RequestInvalid for an unknown mask format."""
    if request.mask_format not in MASK_FORMATS:
        raise RequestInvalid(f"there is no mask format {request.mask_format}", field="mask_format")
    return PhotoQuery(
        image=request.image,
        regions=tuple(Region(box_value(region.box), region.id) for region in request.regions),
        max_garments=request.max_garments,
        min_garment_score=request.min_garment_score,
    )


def terms_of(request: Searching) -> Terms:
    """Which products are asked for. Raises RequestInvalid for an unknown category mode."""
    if request.category_mode not in MODES:
        raise RequestInvalid(f"there is no category mode {request.category_mode}", field="category_mode")
    return Terms(
        filter=request.filter,
        category_mode=MODES[request.category_mode],
        page_size=request.page_size,
        page_token=request.page_token,
        min_score=request.min_score,
        reranking=(request.reranking.color_weight, request.reranking.pattern_weight),
    )


def garment_message(
    seen: Seen, *, version: int, mask_format: garment_pb2.MaskFormat.ValueType, include_embedding: bool
) -> garment_pb2.Garment:
    """A garment of the query as the contract writes it."""
    garment = seen.garment
    message = garment_pb2.Garment(
        box=box_message(garment.box),
        source=SOURCES[garment.source],
        region_id=seen.region_id,
        category=garment.category,
        categories=_labels(garment.categories),
        score=garment.score,
        landmarks=_landmarks(garment),
        colors=[garment_pb2.Color(name=colour.name, share=colour.score) for colour in garment.colours],
        patterns=_labels(garment.patterns),
        materials=_labels(garment.materials),
        garment_token=seen.token,
    )
    if garment.mask.size and mask_format == garment_pb2.MASK_FORMAT_RUN_LENGTH:
        height, width = garment.mask.shape
        runs = message.mask.run_length
        runs.box.CopyFrom(box_message(garment.crop_box))
        runs.width, runs.height = width, height
        runs.runs.extend(masks.runs(garment.mask))
    elif garment.mask.size and mask_format == garment_pb2.MASK_FORMAT_POLYGON:
        for ring in masks.outlines(garment.mask, garment.crop_box):
            message.mask.polygon.rings.add(points=[garment_pb2.Point(x=x, y=y) for x, y in ring])
    if include_embedding:
        message.embedding.values.extend(garment.embedding.tolist())
        message.embedding.version = version
    return message


def _labels(labels: Iterable[Label]) -> list[garment_pb2.Label]:
    return [garment_pb2.Label(name=label.name, score=label.score) for label in labels]


def _landmarks(garment: Garment) -> list[garment_pb2.Landmark]:
    return [
        garment_pb2.Landmark(type=kind, position=garment_pb2.Point(x=x, y=y), visibility=visibility)
        for kind, (x, y, visibility) in zip(LANDMARKS, garment.landmarks.tolist(), strict=False)
    ]


def timings_message(timings: Timings) -> garment_pb2.Timings:
    """The times as durations."""

    def duration(seconds: float) -> duration_pb2.Duration:
        message = duration_pb2.Duration()
        message.FromNanoseconds(round(seconds * 1e9))
        return message

    return garment_pb2.Timings(
        queue=duration(timings.queue),
        inference=duration(timings.inference),
        search=duration(timings.search),
        own=duration(timings.own),
    )
