"""Sizes that the tensor contract between the stages fixes (docs/architecture.md)."""

from __future__ import annotations

__all__ = ["CROP_SIZE", "EMBEDDING_SIZE", "LANDMARKS", "LETTERBOX_SIZE", "MASK_SIZE"]

LETTERBOX_SIZE = 320
CROP_SIZE = 224
MASK_SIZE = 56
LANDMARKS = 8
EMBEDDING_SIZE = 256
