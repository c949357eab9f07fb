"""Import the pure functions of the glue steps, which lie beside `model.py` in the model repository."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

__all__ = ["REPOSITORY", "load_glue"]

REPOSITORY = Path(__file__).resolve().parent.parent / "model_repository"


def load_glue(stage: str, module: str) -> ModuleType:
    """Import a module of `<stage>/1`, as Triton's stub does: with that folder at the end of the path."""
    folder = str(REPOSITORY / stage / "1")
    if folder not in sys.path:
        sys.path.append(folder)
    return importlib.import_module(module)
