"""The seeded choice of a cut for every label."""

from __future__ import annotations

import numpy as np

from lookalike_service.wardrobe.cuts import Cut
from lookalike_service.wardrobe.cuts_more import MORE_CUTS
from lookalike_service.wardrobe.cuts_outer import OUTER_CUTS
from lookalike_service.wardrobe.cuts_tops import TOP_CUTS

__all__ = ["choose_cut"]

_CHOOSERS = {**TOP_CUTS, **OUTER_CUTS, **MORE_CUTS}


def choose_cut(label: str, random: np.random.Generator) -> Cut:
    """A cut for a fine label (see `items.LABELS`). Raises KeyError for an unknown label."""
    return _CHOOSERS[label](random)
