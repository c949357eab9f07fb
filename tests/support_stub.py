"""Triton's side of the stub in a few lines, for the embedded backend onnxruntime, and a runtime that claims a GPU."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import onnxruntime
import pytest

import lookalike_service.embedded

__all__ = ["BACKEND", "FakeRuntime", "Request", "Tensor", "TritonModelException", "load_backend", "opened"]

Array = Any
Model = Any
BACKEND = Path(lookalike_service.embedded.__file__).parent / "backends" / "onnxruntime"


@dataclass
class Tensor:
    label: str
    array: Any

    def name(self) -> str:
        return self.label

    def as_numpy(self) -> Array:
        return self.array


@dataclass
class Request:
    tensors: list[Tensor]
    names: list[str]

    def inputs(self) -> list[Tensor]:
        return self.tensors

    def requested_output_names(self) -> list[str]:
        return self.names


@dataclass
class Response:
    tensors: list[Tensor] = field(default_factory=list)
    error: Any = None


@dataclass
class TritonError:
    message: str
    code: str
    INTERNAL: ClassVar[str] = "INTERNAL"


class TritonModelException(Exception):
    pass


def load_backend(monkeypatch: pytest.MonkeyPatch) -> tuple[ModuleType, list[str]]:
    """The backend as a stub imports it, its folder on the path; and the warnings and errors that it logs."""
    said: list[str] = []
    fake = ModuleType("triton_python_backend_utils")
    logger = SimpleNamespace(log_warn=said.append, log_error=said.append)
    parts = {"Tensor": Tensor, "InferenceResponse": Response, "TritonError": TritonError, "Logger": logger}
    fake.__dict__.update(parts, TritonModelException=TritonModelException)
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", fake)
    monkeypatch.syspath_prepend(BACKEND)
    spec = importlib.util.spec_from_file_location("onnxruntime_backend", BACKEND / "model.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module, said


def opened(backend: ModuleType, folder: Path, config: dict[str, Any], *, kind: str = "CPU", device: str = "0") -> Model:
    """An instance of the model in `folder`, initialized as Triton does it."""
    model = backend.TritonPythonModel()
    model.initialize(
        {
            "model_config": json.dumps(config),
            "model_repository": str(folder),
            "model_version": "1",
            "model_name": folder.name,
            "model_instance_name": f"{folder.name}_0_0",
            "model_instance_kind": kind,
            "model_instance_device_id": device,
        }
    )
    return model


class FakeRuntime:
    """ONNX Runtime that says it has these providers, and runs all of them on the CPU.

    A session with a `broken` provider raises; an `absent` one is left out without a word, as when a library is missing.
    """

    SessionOptions = onnxruntime.SessionOptions

    def __init__(self, available: Sequence[str], *, broken: str = "", absent: str = "") -> None:
        self.available, self.broken, self.absent = list(available), broken, absent
        self.asked: list[dict[str, dict[str, str]]] = []
        self.preloaded = 0

    def get_available_providers(self) -> list[str]:
        return self.available

    def preload_dlls(self) -> None:
        self.preloaded += 1

    def InferenceSession(  # noqa: N802 - ONNX Runtime's name
        self, path: Path, options: onnxruntime.SessionOptions, *, providers: list[Any], enable_fallback: int
    ) -> onnxruntime.InferenceSession:
        assert not enable_fallback
        self.asked.append(dict(providers))
        if self.broken in self.asked[-1]:
            raise RuntimeError("libnvinfer.so.10: cannot open shared object file")
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        session.get_providers = lambda: [name for name, _ in providers if name != self.absent]
        return session
