"""Detectors of the DETR family as the detect stage."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lookalike_export.hub.names import Groups
from lookalike_export.hub.pictures import Pixels, Preparation
from lookalike_export.stages.contract import LETTERBOX_SIZE, ServedStage
from lookalike_export.stages.detect import suppress
from lookalike_export.stages.vocabulary import GARMENTS

__all__ = ["HubDetector", "fixed_positions"]

_CANDIDATES = 100


class HubDetector(ServedStage):
    """Letterboxes (n, 3, s, s) uint8 -> 16 boxes with score and our class.

    `network` is one of transformers' object detectors; `groups` says which of its classes mean which garment of ours.
    With a class for "no object" (one logit more than classes) its scores are shares of one whole, and those of
    several classes of a garment add up; else they are independent, and the largest counts. The family needs no
    suppression of doubles within a class, but two classes of the model may mean one garment of ours.
    """

    inputs, outputs = ("letterbox",), ("boxes", "scores", "classes")
    members: Tensor  # (classes of the model, garments) 0 or 1

    def __init__(self, network: nn.Module, preparation: Preparation, groups: Groups, *, classes: int) -> None:
        super().__init__()
        self.network = network
        self.pixels = Pixels(preparation)
        self.classes = classes
        members = torch.zeros(classes, len(GARMENTS))
        for garment, indices in groups.items():
            members[indices, GARMENTS.index(garment)] = 1
        self.register_buffer("members", members, persistent=False)

    def forward(self, letterbox: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        found: Any = self.network(pixel_values=self.pixels(letterbox))
        scores = self._scores(found.logits)
        centre, half = found.pred_boxes[..., :2], found.pred_boxes[..., 2:] / 2
        boxes = torch.cat([centre - half, centre + half], dim=2) * LETTERBOX_SIZE
        candidates = min(_CANDIDATES, scores.shape[1] * scores.shape[2])
        return suppress(scores, boxes.clamp(0, LETTERBOX_SIZE), candidates=candidates)

    def _scores(self, logits: Tensor) -> Tensor:
        if logits.shape[2] == self.classes + 1:
            return torch.matmul(logits.softmax(dim=2)[..., :-1], self.members)
        return (logits.sigmoid().unsqueeze(3) * self.members).amax(dim=2)


class _Fixed(nn.Module):
    """Gives the same tensor whatever it is asked."""

    value: Tensor

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.register_buffer("value", value.detach().clone(), persistent=False)

    def forward(self, *_: object, **__: object) -> Tensor:
        return self.value


@torch.no_grad()
def fixed_positions(network: Any, size: int) -> None:  # noqa: ANN401 - transformers brings no types that hold here
    """Resample YOLOS' positions for squares of `size` once, here, instead of with every picture in the graph."""
    embeddings, encoder = network.vit.embeddings, network.vit.encoder
    embeddings.interpolation = _Fixed(embeddings.interpolation(embeddings.position_embeddings, (size, size)))
    if encoder.interpolation is not None:
        encoder.interpolation = _Fixed(encoder.interpolation((size, size)))
