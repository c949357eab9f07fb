"""A Python-based Triton backend called onnxruntime: serves `model.onnx` where the native one is not at hand.

It reads the same config.pbtxt as NVIDIA's backend. Of the `parameters` it knows `intra_op_thread_count` and
`inter_op_thread_count` (1 when not given) and, for a GPU, those of execution_providers.py, which reads the accelerators
too; of its own it has `rows_per_run`, above which a batch is run in slices.
"""

from __future__ import annotations

import fcntl
import importlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils
from cores import Cores
from execution_providers import CPU, CUDA, TENSORRT, NotUnderstood, Provider, gpu_providers, records_graphs
from recorded_runs import RecordedRuns

# Triton's names of types and ONNX Runtime's.
_TYPES = {
    "TYPE_BOOL": "tensor(bool)",
    "TYPE_UINT8": "tensor(uint8)",
    "TYPE_INT8": "tensor(int8)",
    "TYPE_INT32": "tensor(int32)",
    "TYPE_INT64": "tensor(int64)",
    "TYPE_FP16": "tensor(float16)",
    "TYPE_FP32": "tensor(float)",
}
# What each provider needs beside onnxruntime-gpu; the versions are those that its release 1.31 was linked to.
_REMEDIES = {
    TENSORRT: "install TensorRT 10: pip install 'tensorrt-cu13-libs<11'",
    CUDA: "install lookalike[embedded-gpu] in place of lookalike[embedded], and a driver for CUDA 13",
}

Arrays = dict[str, Any]
# Triton's Python API brings no types, nor does ONNX Runtime.
Request = Any
Response = Any
Node = Any


class TritonPythonModel:
    """One instance of a model: an ONNX Runtime session of its own."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Open `<repository>/<version>/model.onnx` and check that it is what config.pbtxt says it is."""
        _check_numpy()
        config = json.loads(args["model_config"])
        path = Path(args["model_repository"], args["model_version"], config["default_model_filename"] or "model.onnx")
        if not path.is_file():
            raise pb_utils.TritonModelException(f"{path} does not exist")
        self._name = args["model_name"]
        self._outputs = [output["name"] for output in config["output"]]
        self._batches = int(config["max_batch_size"]) > 0
        self._rows_per_run = int(_parameters(config).get("rows_per_run", "0"))
        providers = _providers(args, config)
        session = _session(path, _parameters(config), providers, name=self._name)
        problems = _differences(config, session)
        if problems:
            raise pb_utils.TritonModelException(f"{path} is not what config.pbtxt says: {'; '.join(problems)}")
        self._session = _recorded(session, args, config) if records_graphs(providers) else session
        self._core = _core(args, _parameters(config), on_cpu=providers[0][0] == CPU)

    def execute(self, requests: Sequence[Request]) -> list[Response]:
        """Run all requests as one batch; when that fails, each alone, so that one bad request fails alone."""
        inputs = [{tensor.name(): tensor.as_numpy() for tensor in request.inputs()} for request in requests]
        wanted = [request.requested_output_names() for request in requests]
        if self._batches and len(requests) > 1:
            try:
                return _responses(self._run_together(inputs, wanted), wanted)
            except Exception as error:
                pb_utils.Logger.log_warn(f"{self._name}: a batch of {len(requests)} failed, trying one by one: {error}")
        return [self._alone(arrays, names) for arrays, names in zip(inputs, wanted, strict=True)]

    def _run_together(self, inputs: Sequence[Arrays], wanted: Sequence[Sequence[str]]) -> list[Arrays]:
        joined = {name: np.concatenate([arrays[name] for arrays in inputs]) for name in inputs[0]}
        results = self._run(joined, {name for names in wanted for name in names})
        ends = np.cumsum([len(next(iter(arrays.values()))) for arrays in inputs])
        parts = {name: np.split(array, ends[:-1]) for name, array in results.items()}
        return [{name: part[row] for name, part in parts.items()} for row in range(len(inputs))]

    def _run(self, arrays: Arrays, names: set[str]) -> Arrays:
        ordered = [name for name in self._outputs if name in names]
        rows = len(next(iter(arrays.values()))) if self._batches else 0
        if not 0 < self._rows_per_run < rows:
            return dict(zip(ordered, self._once(ordered, arrays), strict=True))
        starts = range(0, rows, self._rows_per_run)
        slices = [{name: array[at : at + self._rows_per_run] for name, array in arrays.items()} for at in starts]
        runs = [self._once(ordered, part) for part in slices]
        return {name: np.concatenate(parts) for name, parts in zip(ordered, zip(*runs, strict=True), strict=True)}

    def _once(self, names: Sequence[str], arrays: Arrays) -> list[Any]:
        with self._core():
            return self._session.run(names, arrays)

    def _alone(self, arrays: Arrays, names: Sequence[str]) -> Response:
        try:
            return _responses([self._run(arrays, set(names))], [names])[0]
        except Exception as error:
            pb_utils.Logger.log_error(f"{self._name}: {error}")
            message = f"{self._name} could not run"
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, pb_utils.TritonError.INTERNAL))


def _check_numpy() -> None:
    if int(np.__version__.split(".")[0]) >= 2:
        message = (
            f"numpy {np.__version__} is installed, but with numpy 2 this Triton answers empty tensors; "
            "pip install 'numpy<2'"
        )
        raise pb_utils.TritonModelException(message)


def _parameters(config: Mapping[str, Any]) -> dict[str, str]:
    return {key: value["string_value"] for key, value in config["parameters"].items()}


def _core(
    args: Mapping[str, str], parameters: Mapping[str, str], *, on_cpu: bool
) -> Callable[[], AbstractContextManager[None]]:
    """Where the embedded stack has laid out a file for it, graphs take turns on the cores."""
    path = Path(__file__).with_name("cores")
    if not on_cpu or not path.exists():
        return nullcontext
    number = args["model_instance_name"].rsplit("_", 1)[-1]
    threads = int(parameters.get("intra_op_thread_count", "1"))
    return Cores(path, instance=int(number) if number.isdigit() else 0, threads=threads).taken


def _session(
    path: Path, parameters: Mapping[str, str], providers: list[Provider], *, name: str
) -> onnxruntime.InferenceSession:
    """Open the graph; TensorRT may be missing then, which the log says, and CUDA does its part."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(parameters.get("intra_op_thread_count", "1"))
    options.inter_op_num_threads = int(parameters.get("inter_op_thread_count", "1"))
    # Spinning threads of several instances would steal the cores from each other's real work.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.log_severity_level = 3
    with _one_builds(dict(providers)):
        try:
            # ONNX Runtime's own fallback would forget the options, and with them the device.
            session = onnxruntime.InferenceSession(path, options, providers=providers, enable_fallback=0)
        except Exception as error:
            if providers[0][0] != TENSORRT:
                raise
            pb_utils.Logger.log_warn(f"{name} runs without TensorRT ({error}); {_REMEDIES[TENSORRT]}")
            return _session(path, parameters, providers[1:], name=name)
    for missing in [provider for provider, _ in providers if provider not in session.get_providers()]:
        # What cannot be loaded is left out by ONNX Runtime without an error.
        pb_utils.Logger.log_warn(f"{name} runs without {missing}; {_REMEDIES[missing]}")
    return session


def _recorded(
    session: onnxruntime.InferenceSession, args: Mapping[str, str], config: Mapping[str, Any]
) -> RecordedRuns | onnxruntime.InferenceSession:
    if CUDA not in session.get_providers():
        return session
    try:
        device = int(args["model_instance_device_id"])
        return RecordedRuns(session, largest=int(config["max_batch_size"]), device_id=device)
    except ValueError as error:
        raise pb_utils.TritonModelException(f"{args['model_name']}: {error}") from error


@contextmanager
def _one_builds(options: Mapping[str, Mapping[str, str]]) -> Iterator[None]:
    """Instances that share a cache of engines take turns: the first builds them, the others find them there."""
    cache = options.get(TENSORRT, {}).get("trt_engine_cache_path")
    if not cache:
        yield
        return
    Path(cache).mkdir(parents=True, exist_ok=True)
    with Path(cache, "building.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _providers(args: Mapping[str, str], config: Mapping[str, Any]) -> list[Provider]:
    name = args["model_name"]
    if args["model_instance_kind"] != "GPU":
        return [(CPU, {})]
    available = onnxruntime.get_available_providers()
    if CUDA not in available:
        pb_utils.Logger.log_warn(f"{name} runs on the CPU; {_REMEDIES[CUDA]}")
        return [(CPU, {})]
    try:
        wanted = gpu_providers(config, device=args["model_instance_device_id"])
    except NotUnderstood as error:
        raise pb_utils.TritonModelException(f"{name}: {error}") from error
    # CUDA, cuDNN and TensorRT may lie in packages of Python, where the loader does not look.
    onnxruntime.preload_dlls()
    if wanted[0][0] == TENSORRT:
        if TENSORRT not in available:
            pb_utils.Logger.log_warn(f"{name} runs without TensorRT, which this onnxruntime-gpu was built without")
            return wanted[1:]
        with suppress(ImportError):
            importlib.import_module("tensorrt_libs")
    return wanted


def _responses(results: Sequence[Arrays], wanted: Sequence[Sequence[str]]) -> list[Response]:
    return [
        pb_utils.InferenceResponse([pb_utils.Tensor(name, np.ascontiguousarray(arrays[name])) for name in names])
        for arrays, names in zip(results, wanted, strict=True)
    ]


def _differences(config: Mapping[str, Any], session: onnxruntime.InferenceSession) -> list[str]:
    batch = [-1] if int(config["max_batch_size"]) > 0 else []
    sides = (
        ("input", config["input"], {node.name: node for node in session.get_inputs()}),
        ("output", config["output"], {node.name: node for node in session.get_outputs()}),
    )
    problems = []
    for side, tensors, nodes in sides:
        for tensor in tensors:
            node = nodes.pop(tensor["name"], None)
            problems += _tensor_differences(side, tensor, node, batch)
        # An input that Triton will never feed is an error; an output that nobody reads is not.
        problems += [f"input {name} is not in config.pbtxt" for name in nodes if side == "input"]
    return problems


def _tensor_differences(side: str, tensor: Mapping[str, Any], node: Node, batch: list[int]) -> list[str]:
    name = tensor["name"]
    if node is None:
        return [f"{side} {name} is missing"]
    known = _TYPES.get(tensor["data_type"])
    problems = [] if node.type == known else [f"{side} {name} is {node.type}, not {tensor['data_type']}"]
    declared = batch + [int(size) for size in tensor["dims"]]
    actual = [size if isinstance(size, int) else -1 for size in node.shape]
    # -1 stands for any size on both sides, but a batch that the graph has fixed cannot be filled.
    fits = len(declared) == len(actual) and all(a in (-1, d) for d, a in zip(declared, actual, strict=True))
    return problems if fits else [*problems, f"{side} {name} has shape {node.shape}, not {declared}"]
