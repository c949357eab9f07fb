"""Exchanges the model of `detect` while the server answers; no other stage may be exchanged alone."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from lookalike_service.errors import StartupError

__all__ = ["swap"]

STAGES: Final = ("detect",)
TRY_SECONDS: Final = 120.0
_TRIAL: Final = Path(__file__).with_name("swap_trial.py")


async def swap(stage: str, model: Path, *, repository: Path, exchange: Callable[[], Awaitable[None]]) -> str:
    """Put `model` (an ONNX file) in the place of a stage's model, and say what was done.

    The new one is tried in a process of its own, then `exchange` starts a server with it beside the one that answers.
    Whatever goes wrong, the file of the old one is put back and StartupError says what it was.
    """
    served = _served(stage, model, repository=repository)
    await _tried(stage, model, served)
    previous = served.with_suffix(".previous.onnx")
    shutil.copy2(served, previous)
    _replace(served, model)
    try:
        await exchange()
    except StartupError as error:
        _replace(served, previous)
        raise StartupError(f"the new {stage} was refused and the old one serves: {error}") from error
    return f"{model} serves as {stage}; the one before is kept as {previous}"


def _served(stage: str, model: Path, *, repository: Path) -> Path:
    if stage not in STAGES:
        raise StartupError(
            f"{stage} cannot be swapped: every vector in the index is its work, too. Export it for a new embedding "
            "version and bring the catalogs there (docs/own_models.md); only detect is exchanged alone"
        )
    if not model.is_file():
        raise StartupError(f"there is no model {model}; name an ONNX file")
    served = repository / stage / "1" / "model.onnx"
    if not served.is_file():
        raise StartupError(f"{repository} holds no {stage}/1/model.onnx")
    if not os.access(served.parent, os.W_OK):
        raise StartupError(f"{served.parent} cannot be written; serve a copy of the model repository (--repository)")
    return served


async def _tried(stage: str, model: Path, served: Path) -> None:
    """Run the model once where it can do no harm, and compare its tensors with those of the old one."""
    command = [sys.executable, str(_TRIAL), str(model), str(served)]
    try:
        tried = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, timeout=TRY_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise StartupError(f"the new {stage} does not end looking at one photo; the old one serves") from error
    if tried.returncode:
        said = (tried.stderr.strip().splitlines() or ["it ended without a word"])[-1]
        raise StartupError(f"the new {stage} was refused and the old one serves: {said[:400]}")


def _replace(served: Path, by: Path) -> None:
    """A server that starts at this moment never sees half a file."""
    part = served.with_suffix(".part")
    shutil.copyfile(by, part)
    os.replace(part, served)
