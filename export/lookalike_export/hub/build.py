"""From a model's files to a stage that keeps to the tensor contract."""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lookalike_export.hub.detect import HubDetector, fixed_positions
from lookalike_export.hub.embed import HEADS, Head, HubEmbedder
from lookalike_export.hub.errors import HubError
from lookalike_export.hub.names import garments_of, prompts_of, read_classes
from lookalike_export.hub.open_clip_files import open_clip_model, open_clip_preparation
from lookalike_export.hub.segment import HubSegmenter
from lookalike_export.hub.sources import Source
from lookalike_export.stages.contract import CROP_SIZE, ServedStage

__all__ = ["Built", "build_detector", "build_embedder", "build_segmenter"]

_DETECTORS = {
    "yolos": "YolosForObjectDetection",
    "rt_detr": "RTDetrForObjectDetection",
    "rt_detr_v2": "RTDetrV2ForObjectDetection",
    "d_fine": "DFineForObjectDetection",
}
_PARSERS = {"segformer": "SegformerForSemanticSegmentation"}
_ENCODERS = {
    "clip": "CLIPModel",
    "clip_vision_model": "CLIPVisionModelWithProjection",
    "siglip": "SiglipModel",
    "siglip_vision_model": "SiglipVisionModel",
}
# Detectors of the RT-DETR kind halve a picture five times, YOLOS cuts it into squares of 16.
_STRIDE = 32
# A letterbox has about half as many pixels; enlarging it further costs much and shows nothing.
_LARGEST = 640


@dataclass(frozen=True, slots=True)
class Built:
    """A stage in evaluation mode, the labels of its heads, and what its user should know."""

    stage: ServedStage
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def build_detector(source: Source, *, size: int = 0, classes: str | None = None) -> Built:
    """Raises HubError where it is no detector of the DETR family, or none of its classes is a garment."""
    source.check_kind(tuple(_DETECTORS), purpose="detect")
    network = source.open(_architecture(_DETECTORS[source.kind]))
    names = _classes(source, network, classes)
    groups = garments_of(names, model=source.name)
    side = _multiple(size or min(source.preparation().size, _LARGEST))
    if source.kind == "yolos":
        fixed_positions(network, side)
    stage = HubDetector(network, source.preparation(size=side), groups, classes=len(names))
    return Built(stage.eval(), notes=(*_spelled(groups, names), f"it looks at {side} x {side} pixels (--size)"))


def build_segmenter(source: Source, *, size: int = 0, classes: str | None = None) -> Built:
    """Raises HubError where it is no SegFormer, or none of its classes is a garment.

    A crop shows its garment larger than a parser's own pictures do, so the crop's own pixels are enough by default.
    """
    source.check_kind(tuple(_PARSERS), purpose="segment")
    network = source.open(_architecture(_PARSERS[source.kind]))
    names = _classes(source, network, classes)
    groups = garments_of(names, model=source.name)
    side = _multiple(size or CROP_SIZE)
    stage = HubSegmenter(network, source.preparation(size=side), groups, names=names)
    return Built(stage.eval(), notes=(*_spelled(groups, names), f"it looks at {side} x {side} pixels (--size)"))


def build_embedder(source: Source, *, version: int, files: Mapping[str, Path | None]) -> Built:
    """`files` may name label files per head; raises HubError where it is no CLIP or SigLIP tower."""
    if source.open_clip:
        network = open_clip_model(source)
        preparation = open_clip_preparation(source, size=network.config.vision_config.image_size)
    else:
        source.check_kind(tuple(_ENCODERS), purpose="embed")
        network = source.open(_architecture(_ENCODERS[source.kind]))
        preparation = source.preparation(size=getattr(network.config, "vision_config", network.config).image_size)
    heads: dict[str, Head] = {}
    notes: tuple[str, ...] = ("it has no text tower or no tokenizer, so categories, patterns, materials are left out",)
    scale = 1.0
    tokenizer = _tokenizer(source) if hasattr(network, "text_model") else None
    if tokenizer is not None:
        prompts = {head: prompts_of(head, files.get(head)) for head in HEADS}
        heads = {head: Head(tuple(said), _texts(network, tokenizer, said)) for head, said in prompts.items()}
        scale, notes = float(network.logit_scale.detach().exp()), ()
    elif any(files.values()):
        raise HubError(f"{source.name} cannot choose among labels: {notes[0]}")
    stage = HubEmbedder(_Tower(network), preparation, heads, scale=scale, version=version)
    return Built(stage.eval(), {name: head.labels for name, head in heads.items()}, notes)


class _Tower(nn.Module):
    """The vision half of a network: pixels to what it compares with texts."""

    def __init__(self, network: Any) -> None:  # noqa: ANN401
        super().__init__()
        self.vision = getattr(network, "vision_model", network)
        self.projection = getattr(network, "visual_projection", None)

    def forward(self, pixels: Tensor) -> Tensor:
        pooled: Tensor = self.vision(pixel_values=pixels).pooler_output
        return pooled if self.projection is None else self.projection(pooled)


def _architecture(name: str) -> Any:  # noqa: ANN401
    import transformers

    return getattr(transformers, name)


def _classes(source: Source, network: Any, given: str | None) -> tuple[str, ...]:  # noqa: ANN401
    stored: dict[int, str] = network.config.id2label
    if given is None:
        return tuple(stored[number] for number in sorted(stored))
    names = read_classes(given)
    if len(names) != len(stored):
        raise HubError(f"--classes names {len(names)} classes, but {source.name} has {len(stored)}")
    return names


def _spelled(groups: Mapping[str, list[int]], names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{garment}: {' | '.join(names[i] for i in indices)}" for garment, indices in groups.items())


def _multiple(size: int) -> int:
    return max(_STRIDE, round(size / _STRIDE) * _STRIDE)


def _tokenizer(source: Source) -> Any:  # noqa: ANN401
    if not (source.folder / "tokenizer_config.json").exists():
        return None
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    # The file says all; going by the model's type would meet configurations that only pretend to be of one.
    kind = PreTrainedTokenizerFast if (source.folder / "tokenizer.json").exists() else AutoTokenizer
    try:
        tokenizer = kind.from_pretrained(source.folder)
    except (OSError, ValueError, ImportError) as error:
        raise HubError(f"the tokenizer of {source.name} cannot be opened: {error}") from error
    if tokenizer.pad_token is None:
        raise HubError(f"the tokenizer of {source.name} has no padding token; name one in tokenizer_config.json")
    return tokenizer


@torch.no_grad()
def _texts(network: Any, tokenizer: Any, prompts: Mapping[str, str]) -> Tensor:  # noqa: ANN401
    """What the text tower makes of the prompts, (labels, size) of unit length."""
    length = network.config.text_config.max_position_embeddings
    siglip = not hasattr(network, "text_projection")
    said = [_canonical(text) if siglip else text for text in prompts.values()]
    tokens = tokenizer(said, padding="max_length", truncation=True, max_length=length, return_tensors="pt")
    if siglip:
        found = network.text_model(input_ids=tokens["input_ids"]).pooler_output
    else:
        found = network.text_projection(network.text_model(input_ids=tokens["input_ids"]).pooler_output)
    return nn.functional.normalize(found, dim=1, eps=1e-6)


def _canonical(text: str) -> str:
    """Lower case without punctuation, as SigLIP's training texts were (Zhai et al., ICCV 2023)."""
    return " ".join(text.lower().translate(str.maketrans("", "", string.punctuation)).split())
