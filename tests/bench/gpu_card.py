"""The card that is measured, or a sentence that says why there is none."""

from __future__ import annotations

import subprocess
from dataclasses import asdict, dataclass
from typing import Final

import onnxruntime
import torch

__all__ = ["COMMAND", "Card", "CardUnusable", "find_card"]

COMMAND: Final = (
    "make .venv/.dev && .venv/bin/pip uninstall -y onnxruntime && .venv/bin/pip install -c constraints.txt "
    "'onnxruntime-gpu[cuda,cudnn]' 'tensorrt-cu13-libs<11' && make bench-gpu"
)
CUDA: Final = "CUDAExecutionProvider"


class CardUnusable(RuntimeError):
    """There is a card, but a package cannot use it; the text says which, and what to install."""


@dataclass(frozen=True, slots=True)
class Card:
    """`kind` is what torch and ONNX Runtime call it, cuda or cpu."""

    kind: str
    name: str
    memory_gib: float = 0.0
    driver: str = ""
    cuda: str = ""

    def to_json(self) -> dict[str, object]:
        """The card as JSON can hold it."""
        return asdict(self)


def find_card(listing: str | None = None) -> Card | None:
    """The first NVIDIA card, or None without any; `listing` stands for what nvidia-smi says. Raises CardUnusable."""
    named = _nvidia_smi() if listing is None else listing
    if not torch.cuda.is_available():
        if not named:
            return None
        raise CardUnusable(
            f"{named.split(',')[0]} is here, but torch {torch.__version__} cannot use it; run: {COMMAND}"
        )
    if CUDA not in onnxruntime.get_available_providers():
        raise CardUnusable(f"onnxruntime {onnxruntime.__version__} is the one for CPUs; run: {COMMAND}")
    properties = torch.cuda.get_device_properties(0)
    driver = named.split(",")[1].strip() if "," in named else ""
    memory = round(properties.total_memory / 2**30, 1)
    return Card("cuda", properties.name, memory, driver, torch.version.cuda or "")


def _nvidia_smi() -> str:
    """Name and driver of the first card, separated by a comma; empty without any."""
    command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
    return said.splitlines()[0].strip() if said.strip() else ""
