"""Where a run was made: a figure without its machine says nothing."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import psutil

__all__ = ["machine", "revision"]

PACKAGES = (
    "faiss-cpu",
    "grpcio",
    "milvus",
    "numpy",
    "nvidia-pytriton",
    "onnxruntime",
    "onnxruntime-gpu",
    "opencv-python-headless",
    "pymilvus",
    "tritonclient",
    "fastapi",
    "litserve",
)


def machine() -> dict[str, Any]:
    """Processor, cores, memory, kernel, Python and the packages that matter; the load when the run began."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "load_average": os.getloadavg(),
    }


def revision() -> str:
    """The commit that was measured, with a plus when files differ from it; empty outside a checkout."""
    try:
        said = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=12"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return said.stdout.strip()


def _version(package: str) -> str:
    """Empty where it is not installed: ONNX Runtime is there in one of two packages."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
