"""Well-known models of the Hugging Face hub, exported into the tensor contract; see docs/own_models.md."""

from __future__ import annotations

from lookalike_export.hub.command import add_parser, run

__all__ = ["add_parser", "run"]
