"""The options that change which products come first, as fields of a search."""

from __future__ import annotations

import argparse

from lookalike.client import SearchOptions
from lookalike.v1.search_service_pb2 import CategoryMode, Reranking

__all__ = ["ranking_options"]


def ranking_options(options: argparse.Namespace) -> SearchOptions:
    """Filter, category mode and weights."""
    weights = {"color_weight": options.color_weight, "pattern_weight": options.pattern_weight}
    chosen: SearchOptions = {"reranking": Reranking(**weights)} if any(weights.values()) else {}
    return {
        **chosen,
        "filter": options.filter,
        "category_mode": CategoryMode.Value(f"CATEGORY_MODE_{options.category_mode.upper()}"),
    }
