"""A Python-based Triton backend called onnxruntime: serves `model.onnx` where the native one is not at hand.

It reads the same config.pbtxt as NVIDIA's backend. Of the `parameters` it knows `intra_op_thread_count` and
`inter_op_thread_count` (1 when not given) and `cudnn_conv_algo_search`; of its own it has `rows_per_run`, above which a
batch is run in slices.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils

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
_CUDNN_SEARCHES = {"0": "EXHAUSTIVE", "1": "HEURISTIC", "2": "DEFAULT"}

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
        self._session = _session(path, args, config)
        problems = _differences(config, self._session)
        if problems:
            raise pb_utils.TritonModelException(f"{path} is not what config.pbtxt says: {'; '.join(problems)}")

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
            return dict(zip(ordered, self._session.run(ordered, arrays), strict=True))
        starts = range(0, rows, self._rows_per_run)
        slices = [{name: array[at : at + self._rows_per_run] for name, array in arrays.items()} for at in starts]
        runs = [self._session.run(ordered, part) for part in slices]
        return {name: np.concatenate(parts) for name, parts in zip(ordered, zip(*runs, strict=True), strict=True)}

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


def _session(path: Path, args: Mapping[str, str], config: Mapping[str, Any]) -> onnxruntime.InferenceSession:
    parameters = _parameters(config)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(parameters.get("intra_op_thread_count", "1"))
    options.inter_op_num_threads = int(parameters.get("inter_op_thread_count", "1"))
    # Spinning threads of several instances would steal the cores from each other's real work.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=_providers(args, parameters))


def _providers(args: Mapping[str, str], parameters: Mapping[str, str]) -> list[Any]:
    if args["model_instance_kind"] != "GPU":
        return ["CPUExecutionProvider"]
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pb_utils.Logger.log_warn(f"{args['model_name']} runs on the CPU; for the GPU install lookalike[embedded-gpu]")
        return ["CPUExecutionProvider"]
    search = _CUDNN_SEARCHES[parameters.get("cudnn_conv_algo_search", "1")]
    cuda = {"device_id": args["model_instance_device_id"], "cudnn_conv_algo_search": search}
    return [("CUDAExecutionProvider", cuda), "CPUExecutionProvider"]


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
