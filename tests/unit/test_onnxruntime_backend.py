"""The Python-based backend onnxruntime, with Triton's side of the stub played by a few lines."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

import lookalike_service.embedded
from support_models import write_stand_ins

Array = Any
Model = Any
BACKEND = Path(lookalike_service.embedded.__file__).parent / "backends" / "onnxruntime" / "model.py"
SEGMENT: dict[str, Any] = {
    "max_batch_size": 64,
    "default_model_filename": "",
    "parameters": {"intra_op_thread_count": {"string_value": "1"}},
    "input": [{"name": "crops", "data_type": "TYPE_UINT8", "dims": ["3", "224", "224"]}],
    "output": [{"name": "mask", "data_type": "TYPE_UINT8", "dims": ["56", "56"]}],
}


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


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    fake = ModuleType("triton_python_backend_utils")
    silent = SimpleNamespace(log_warn=lambda text: None, log_error=lambda text: None)
    parts = {"Tensor": Tensor, "InferenceResponse": Response, "TritonError": TritonError, "Logger": silent}
    fake.__dict__.update(parts, TritonModelException=TritonModelException)
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", fake)
    spec = importlib.util.spec_from_file_location("onnxruntime_backend", BACKEND)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    write_stand_ins(folder)
    return folder


def opened(backend: ModuleType, repository: Path, config: dict[str, Any], stage: str = "segment") -> Model:
    model = backend.TritonPythonModel()
    model.initialize(
        {
            "model_config": json.dumps(config),
            "model_repository": str(repository / stage),
            "model_version": "1",
            "model_name": stage,
            "model_instance_kind": "CPU",
            "model_instance_device_id": "0",
        }
    )
    return model


def crops(count: int, value: int) -> Array:
    return np.full((count, 3, 224, 224), value, np.uint8)


def ask(array: Array, *names: str) -> Request:
    return Request([Tensor("crops", array)], list(names))


def test_requests_share_a_run_and_get_their_own_rows_back(backend: ModuleType, repository: Path) -> None:
    model = opened(backend, repository, SEGMENT)
    answers = model.execute([ask(crops(count, 10 * count), "mask") for count in (1, 3, 2)])
    for count, answer in zip((1, 3, 2), answers, strict=True):
        (mask,) = answer.tensors
        assert mask.array.shape == (count, 56, 56) and (mask.array == 10 * count).all()


def test_a_large_batch_is_run_in_slices_and_put_together_again(backend: ModuleType, repository: Path) -> None:
    config = {**SEGMENT, "parameters": {"rows_per_run": {"string_value": "4"}}}
    model = opened(backend, repository, config)
    answers = model.execute([ask(crops(count, 10 * count), "mask") for count in (3, 6, 1)])
    for count, answer in zip((3, 6, 1), answers, strict=True):
        assert answer.tensors[0].array.shape == (count, 56, 56) and (answer.tensors[0].array == 10 * count).all()


def test_one_bad_request_fails_alone(backend: ModuleType, repository: Path) -> None:
    model = opened(backend, repository, SEGMENT)
    bad = np.zeros((1, 3, 100, 100), np.uint8)
    good, failed, also_good = model.execute([ask(crops(1, 5), "mask"), ask(bad, "mask"), ask(crops(2, 6), "mask")])
    assert (good.tensors[0].array == 5).all() and (also_good.tensors[0].array == 6).all()
    assert failed.error.code == "INTERNAL" and failed.error.message == "segment could not run"


def test_only_requested_outputs_are_answered(backend: ModuleType, repository: Path) -> None:
    config = {
        **SEGMENT,
        "max_batch_size": 16,
        "input": [{"name": "letterbox", "data_type": "TYPE_UINT8", "dims": ["3", "352", "352"]}],
        "output": [
            {"name": "scores", "data_type": "TYPE_FP32", "dims": ["16"]},
            {"name": "boxes", "data_type": "TYPE_FP32", "dims": ["16", "4"]},
        ],
    }
    model = opened(backend, repository, config, stage="detect")
    image = np.zeros((1, 3, 352, 352), np.uint8)
    answers = model.execute(
        [Request([Tensor("letterbox", image)], ["scores"]), Request([Tensor("letterbox", image)], ["boxes", "scores"])]
    )
    assert [[tensor.name() for tensor in answer.tensors] for answer in answers] == [["scores"], ["boxes", "scores"]]
    assert answers[1].tensors[0].array.shape == (1, 16, 4)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"output": [{"name": "masks", "data_type": "TYPE_UINT8", "dims": ["56", "56"]}]}, "output masks is missing"),
        ({"output": [{"name": "mask", "data_type": "TYPE_FP32", "dims": ["56", "56"]}]}, "mask is tensor"),
        ({"output": [{"name": "mask", "data_type": "TYPE_UINT8", "dims": ["28", "28"]}]}, "mask has shape"),
        ({"input": []}, "input crops is not in config.pbtxt"),
        ({"max_batch_size": 0}, "crops has shape"),
        ({"default_model_filename": "other.onnx"}, "other.onnx does not exist"),
    ],
)
def test_a_graph_that_is_not_what_the_configuration_says_is_refused(
    backend: ModuleType, repository: Path, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(TritonModelException, match=words):
        opened(backend, repository, {**SEGMENT, **change})


def test_numpy_2_is_refused_with_the_command_that_helps(
    backend: ModuleType, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(np, "__version__", "2.1.0")
    with pytest.raises(TritonModelException, match="pip install 'numpy<2'"):
        opened(backend, repository, SEGMENT)


def test_a_gpu_instance_falls_back_to_the_cpu_where_no_provider_is(backend: ModuleType, repository: Path) -> None:
    model = backend.TritonPythonModel()
    model.initialize(
        {
            "model_config": json.dumps(SEGMENT),
            "model_repository": str(repository / "segment"),
            "model_version": "1",
            "model_name": "segment",
            "model_instance_kind": "GPU",
            "model_instance_device_id": "0",
        }
    )
    (answer,) = model.execute([ask(crops(1, 9), "mask")])
    assert (answer.tensors[0].array == 9).all()
