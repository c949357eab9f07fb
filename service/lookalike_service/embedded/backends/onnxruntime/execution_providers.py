"""Which execution providers of ONNX Runtime a GPU instance gets, read from Triton's configuration as NVIDIA's does.

`optimization.execution_accelerators.gpu_execution_accelerator` names `tensorrt` and `cuda` with their parameters; the
older CUDA options among the model's `parameters` come before those.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["CPU", "CUDA", "TENSORRT", "NotUnderstood", "Provider", "gpu_providers", "records_graphs"]

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"

Provider = tuple[str, dict[str, str]]
"""Its name, and its options as ONNX Runtime calls them."""

_PRECISIONS = {"FP32": None, "FP16": "trt_fp16_enable", "BF16": "trt_bf16_enable", "INT8": "trt_int8_enable"}
# Keys of NVIDIA's backend that ONNX Runtime calls otherwise; those that begin with trt_ go on as they are.
_RENAMED = {
    "max_workspace_size_bytes": "trt_max_workspace_size",
    "int8_calibration_table_name": "trt_int8_calibration_table_name",
    "int8_use_native_calibration_table": "trt_int8_use_native_calibration_table",
}
# The older options and what their numbers stand for; an option without numbers goes on as it is.
_CUDA_PARAMETERS: dict[str, dict[str, str]] = {
    "cudnn_conv_algo_search": {"0": "EXHAUSTIVE", "1": "HEURISTIC", "2": "DEFAULT"},
    "arena_extend_strategy": {"0": "kNextPowerOfTwo", "1": "kSameAsRequested"},
    "gpu_mem_limit": {},
    "do_copy_in_default_stream": {},
}
_YES = ("1", "true")


class NotUnderstood(ValueError):
    """The configuration asks for something that no provider can do; the text says what to write instead."""


def gpu_providers(config: Mapping[str, Any], *, device: str) -> list[Provider]:
    """TensorRT where it is asked for, then CUDA and the CPU for what is left. Raises NotUnderstood."""
    cuda, tensorrt = {"cudnn_conv_algo_search": "HEURISTIC"}, None
    accelerators = config.get("optimization", {}).get("execution_accelerators", {})
    for accelerator in accelerators.get("gpu_execution_accelerator", []):
        name, parameters = accelerator["name"], accelerator.get("parameters", {})
        if name == "tensorrt":
            tensorrt = _tensorrt_options(parameters)
        elif name == "cuda":
            cuda.update(parameters)
        else:
            raise NotUnderstood(f"the GPU accelerator {name!r} is not known; write tensorrt or cuda")
    cuda.update(_cuda_parameters(config.get("parameters", {})))
    on_device = {"device_id": device}
    first = [] if tensorrt is None else [(TENSORRT, {**tensorrt, **on_device})]
    return [*first, (CUDA, {**cuda, **on_device}), (CPU, {})]


def records_graphs(providers: list[Provider]) -> bool:
    """Whether CUDA's provider is asked to record runs as CUDA graphs."""
    return any(name == CUDA and _is_yes(options, "enable_cuda_graph") for name, options in providers)


def _tensorrt_options(parameters: Mapping[str, str]) -> dict[str, str]:
    options = {}
    for key, value in parameters.items():
        if key == "precision_mode":
            if value not in _PRECISIONS:
                raise NotUnderstood(f"precision_mode {value!r} is not known; write one of {', '.join(_PRECISIONS)}")
            if precision := _PRECISIONS[value]:
                options[precision] = "1"
        elif key in _RENAMED or key.startswith("trt_"):
            options[_RENAMED.get(key, key)] = value
        else:
            raise NotUnderstood(f"{key!r} is no parameter of the accelerator tensorrt; its own begin with trt_")
    if _is_yes(options, "trt_cuda_graph_enable"):
        # It records one graph and replays that for batches of any size.
        raise NotUnderstood(
            "trt_cuda_graph_enable serves a single batch size; for graphs take the accelerator cuda with "
            "enable_cuda_graph, or --model-config-name=tensorrt on NVIDIA's server"
        )
    return options


def _cuda_parameters(parameters: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    options = {}
    for key, meanings in _CUDA_PARAMETERS.items():
        if key not in parameters:
            continue
        value = parameters[key]["string_value"]
        if meanings and value not in meanings:
            raise NotUnderstood(f"{key} {value!r} is not known; write one of {', '.join(meanings)}")
        options[key] = meanings.get(value, value)
    return options


def _is_yes(options: Mapping[str, str], key: str) -> bool:
    return options.get(key, "").lower() in _YES
