"""The Python-based backend onnxruntime, with Triton's side of the stub played by a few lines."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from support_models import write_stand_ins
from support_stub import BACKEND, Request, Tensor, TritonModelException, load_backend
from support_stub import opened as opened_in

Array = Any
Model = Any
SEGMENT: dict[str, Any] = {
    "max_batch_size": 64,
    "default_model_filename": "",
    "parameters": {"intra_op_thread_count": {"string_value": "1"}},
    "input": [{"name": "crops", "data_type": "TYPE_UINT8", "dims": ["3", "224", "224"]}],
    "output": [{"name": "mask", "data_type": "TYPE_UINT8", "dims": ["56", "56"]}],
}


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    yield load_backend(monkeypatch)[0]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    write_stand_ins(folder)
    return folder


def opened(backend: ModuleType, repository: Path, config: dict[str, Any], stage: str = "segment") -> Model:
    return opened_in(backend, repository / stage, config)


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


HOLDS_A_CORE = """
import sys, time
from pathlib import Path
from cores import Cores
with Cores(Path(sys.argv[1]), instance=int(sys.argv[2])).taken():
    print("running", flush=True)
    time.sleep(60)
"""


@contextmanager
def running(path: Path, instance: int) -> Iterator[subprocess.Popen[str]]:
    """Another process that runs on a core."""
    command = [sys.executable, "-c", HOLDS_A_CORE, str(path), str(instance)]
    environment = {**os.environ, "PYTHONPATH": str(BACKEND)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None and process.stdout.readline() == "running\n"
        try:
            yield process
        finally:
            process.kill()


def test_no_more_run_at_once_than_there_are_cores(
    backend: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1})
    path = tmp_path / "cores"
    path.touch()
    cores = len(os.sched_getaffinity(0))
    ran = threading.Event()

    def run() -> None:
        with backend.Cores(path, instance=1).taken():
            ran.set()

    with running(path, 0):
        with backend.Cores(path, instance=0).taken():
            pass  # its own core is taken, the other one is free
        with running(path, 1):
            waiting = threading.Thread(target=run)
            waiting.start()
            assert cores == 2 and not ran.wait(0.2)
        # Whoever is killed gives its core back.
        assert ran.wait(10)
        waiting.join()


def test_graphs_take_turns_where_a_file_is_laid_out_for_it(
    backend: ModuleType, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert opened(backend, repository, SEGMENT)._core is nullcontext
    (tmp_path / "cores").touch()
    monkeypatch.setattr(backend, "__file__", str(tmp_path / "model.py"))
    model = opened(backend, repository, SEGMENT)
    assert model._core is not nullcontext
    (answer,) = model.execute([ask(crops(2, 7), "mask")])
    assert (answer.tensors[0].array == 7).all()
