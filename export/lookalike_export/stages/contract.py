"""Sizes and names that the tensor contract between the stages fixes (docs/architecture.md)."""

from __future__ import annotations

from torch import nn

__all__ = ["CROP_SIZE", "EMBEDDING_SIZE", "LANDMARKS", "LETTERBOX_SIZE", "MASK_SIZE", "ServedStage"]

LETTERBOX_SIZE = 352
CROP_SIZE = 224
MASK_SIZE = 56
LANDMARKS = 8
EMBEDDING_SIZE = 256


class ServedStage(nn.Module):
    """A network as Triton serves it: takes `inputs` and gives `outputs`, in the order of their names."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
