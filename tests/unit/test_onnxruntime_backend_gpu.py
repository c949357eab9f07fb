"""The embedded backend on a GPU instance: what it asks ONNX Runtime for, and what it does without some of it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime
import pytest
from google.protobuf import json_format, text_format
from tritonclient.grpc import model_config_pb2

from support_glue import REPOSITORY
from support_models import write_stand_ins
from support_stub import FakeRuntime, Request, Tensor, TritonModelException, load_backend, opened

Array = Any
ALL = ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider")
TENSORRT, CUDA, CPU = ALL


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> tuple[ModuleType, list[str]]:
    return load_backend(monkeypatch)


@pytest.fixture(scope="module")
def segment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    write_stand_ins(folder)
    return folder / "segment"


def configuration(
    tmp_path: Path, *accelerators: tuple[str, dict[str, str]], parameters: dict[str, str] | None = None
) -> dict[str, Any]:
    """The project's own gpu.pbtxt of segment as Triton hands it to the stub, its caches below `tmp_path`."""
    text = (REPOSITORY / "segment" / "configs" / "gpu.pbtxt").read_text()
    message = text_format.Parse(
        text.replace("/tmp/tensorrt", str(tmp_path / "engines")), model_config_pb2.ModelConfig()
    )
    config: dict[str, Any] = json_format.MessageToDict(message, preserving_proto_field_name=True)
    config["default_model_filename"] = ""
    if accelerators:
        asked = [{"name": name, "parameters": options} for name, options in accelerators]
        config["optimization"]["execution_accelerators"] = {"gpu_execution_accelerator": asked}
    if parameters is not None:
        config["parameters"] = {key: {"string_value": value} for key, value in parameters.items()}
    return config


def crops(count: int, value: int) -> Array:
    return np.full((count, 3, 224, 224), value, np.uint8)


def test_the_projects_configuration_asks_for_tensorrt_in_half_precision(
    loaded: tuple[ModuleType, list[str]], segment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (backend, said), runtime = loaded, FakeRuntime(ALL)
    monkeypatch.setattr(backend, "onnxruntime", runtime)
    model = opened(backend, segment, configuration(tmp_path), kind="GPU", device="3")
    (asked,) = runtime.asked
    assert list(asked) == list(ALL) and not said and runtime.preloaded == 1
    assert asked[TENSORRT] == {
        "trt_fp16_enable": "1",
        "trt_max_workspace_size": "1073741824",
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(tmp_path / "engines"),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(tmp_path / "engines"),
        "trt_profile_min_shapes": "crops:1x3x224x224",
        "trt_profile_opt_shapes": "crops:16x3x224x224",
        "trt_profile_max_shapes": "crops:64x3x224x224",
        "device_id": "3",
    }
    assert asked[CUDA] == {"cudnn_conv_algo_search": "HEURISTIC", "device_id": "3"}
    # The folder of the engines is there, and two instances do not build them at once.
    assert (tmp_path / "engines" / "building.lock").exists()
    (answer,) = model.execute([Request([Tensor("crops", crops(2, 9))], ["mask"])])
    assert (answer.tensors[0].array == 9).all()


def test_a_cpu_instance_ignores_the_accelerators(
    loaded: tuple[ModuleType, list[str]], segment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (backend, said), runtime = loaded, FakeRuntime(ALL)
    monkeypatch.setattr(backend, "onnxruntime", runtime)
    opened(backend, segment, configuration(tmp_path, ("tensorrt", {"nonsense": "1"})))
    assert runtime.asked == [{CPU: {}}] and not said and not (tmp_path / "engines").exists()


@pytest.mark.parametrize(
    ("runtime", "kept", "words"),
    [
        (FakeRuntime(ALL[1:]), ALL[1:], "segment runs without TensorRT, which this onnxruntime-gpu was built without"),
        (FakeRuntime(ALL, broken=TENSORRT), ALL[1:], "segment runs without TensorRT (libnvinfer.so.10: cannot open"),
        (FakeRuntime(ALL, absent=TENSORRT), ALL, "segment runs without TensorrtExecutionProvider; install TensorRT 10"),
        (FakeRuntime(ALL, absent=CUDA), ALL, "segment runs without CUDAExecutionProvider; install lookalike["),
        (FakeRuntime([CPU]), [CPU], "segment runs on the CPU; install lookalike[embedded-gpu] in place of"),
    ],
)
def test_what_is_missing_is_said_once_and_the_rest_serves(
    loaded: tuple[ModuleType, list[str]],
    segment: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    runtime: FakeRuntime,
    kept: list[str],
    words: str,
) -> None:
    backend, said = loaded
    monkeypatch.setattr(backend, "onnxruntime", runtime)
    model = opened(backend, segment, configuration(tmp_path), kind="GPU")
    assert len(said) == 1 and said[0].startswith(words) and list(runtime.asked[-1]) == list(kept)
    (answer,) = model.execute([Request([Tensor("crops", crops(1, 5))], ["mask"])])
    assert (answer.tensors[0].array == 5).all()


def test_a_broken_cuda_is_an_error_and_no_slow_server(
    loaded: tuple[ModuleType, list[str]], segment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loaded[0], "onnxruntime", FakeRuntime(ALL, broken=CUDA))
    with pytest.raises(RuntimeError, match="cannot open shared object"):
        opened(loaded[0], segment, configuration(tmp_path), kind="GPU")


def test_options_of_cuda_are_read_from_both_places(
    loaded: tuple[ModuleType, list[str]], segment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = FakeRuntime(ALL)
    monkeypatch.setattr(loaded[0], "onnxruntime", runtime)
    asked = ("cuda", {"prefer_nhwc": "1", "cudnn_conv_algo_search": "DEFAULT"})
    older = {"arena_extend_strategy": "1", "gpu_mem_limit": "4294967296", "cudnn_conv_algo_search": "0"}
    opened(loaded[0], segment, configuration(tmp_path, asked, parameters=older), kind="GPU")
    assert runtime.asked[0][CUDA] == {
        "prefer_nhwc": "1",
        "arena_extend_strategy": "kSameAsRequested",
        "gpu_mem_limit": "4294967296",
        "cudnn_conv_algo_search": "EXHAUSTIVE",
        "device_id": "0",
    }
    assert TENSORRT not in runtime.asked[0]


@pytest.mark.parametrize(
    ("accelerator", "parameters", "words"),
    [
        (("openvino", {}), {}, "segment: the GPU accelerator 'openvino' is not known; write tensorrt or cuda"),
        (("tensorrt", {"precision_mode": "FP8"}), {}, "precision_mode 'FP8' is not known; write one of FP32, FP16"),
        (("tensorrt", {"workspace": "1"}), {}, "'workspace' is no parameter of the accelerator tensorrt"),
        (("tensorrt", {"trt_cuda_graph_enable": "1"}), {}, "trt_cuda_graph_enable serves a single batch size"),
        (("cuda", {}), {"cudnn_conv_algo_search": "HEURISTIC"}, "cudnn_conv_algo_search 'HEURISTIC' is not known"),
        (("cuda", {}), {"arena_extend_strategy": "2"}, "arena_extend_strategy '2' is not known; write one of 0, 1"),
    ],
)
def test_what_no_provider_understands_fails_the_load_with_the_remedy(
    loaded: tuple[ModuleType, list[str]],
    segment: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    accelerator: tuple[str, dict[str, str]],
    parameters: dict[str, str],
    words: str,
) -> None:
    monkeypatch.setattr(loaded[0], "onnxruntime", FakeRuntime(ALL))
    with pytest.raises(TritonModelException, match=words.replace("(", r"\(")):
        opened(loaded[0], segment, configuration(tmp_path, accelerator, parameters=parameters), kind="GPU")


def test_recorded_runs_answer_batches_of_any_size_with_their_own_rows(
    loaded: tuple[ModuleType, list[str]], segment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend, said = loaded
    monkeypatch.setattr(backend, "onnxruntime", FakeRuntime(ALL))
    monkeypatch.setattr(backend, "RecordedRuns", partial(backend.RecordedRuns, device="cpu"))
    model = opened(backend, segment, configuration(tmp_path, ("cuda", {"enable_cuda_graph": "1"})), kind="GPU")
    assert not said
    kept = []
    for counts in ((5, 2), (1,), (3,), (64,), (6, 1)):
        requests = [Request([Tensor("crops", crops(count, 10 + count))], ["mask"]) for count in counts]
        for count, answer in zip(counts, model.execute(requests), strict=True):
            assert answer.error is None and answer.tensors[0].array.shape == (count, 56, 56)
            kept.append((10 + count, answer.tensors[0].array))
    # Answers are copies: later runs of the same size have not written over them.
    assert all((mask == value).all() for value, mask in kept)


def test_recorded_runs_round_a_batch_up_to_a_size_that_has_a_graph(
    loaded: tuple[ModuleType, list[str]], segment: Path
) -> None:
    from recorded_runs import RecordedRuns, batch_sizes  # type: ignore[import-not-found]

    assert batch_sizes(64) == [1, 2, 4, 8, 16, 32, 64] and batch_sizes(12) == [1, 2, 4, 8, 12] and batch_sizes(1) == [1]

    class Watched(onnxruntime.InferenceSession):  # type: ignore[misc]
        batches: list[int]

        def run_with_iobinding(self, binding: onnxruntime.IOBinding, options: onnxruntime.RunOptions) -> None:
            super().run_with_iobinding(binding, options)
            self.batches.append(binding.copy_outputs_to_cpu()[0].shape[0])

    session = Watched(segment / "1" / "model.onnx", providers=[CPU])
    session.batches = []
    runs = RecordedRuns(session, largest=12, device="cpu")
    for rows in (1, 3, 5, 9, 12):
        assert runs.run(["mask"], {"crops": crops(rows, rows)})[0].shape == (rows, 56, 56)
    assert session.batches == [1, 4, 8, 12, 12]
    with pytest.raises(ValueError, match="max_batch_size is 0; leave enable_cuda_graph out"):
        RecordedRuns(session, largest=0, device="cpu")
