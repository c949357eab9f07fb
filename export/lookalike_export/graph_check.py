"""Holding an ONNX file against Triton's configurations of its stage, by running it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from lookalike_export.triton_config import ConfigMismatch, StageConfig, Tensor, compare, stage_configs

__all__ = ["check_graph", "check_repository", "open_graph"]

_KINDS = {
    "tensor(uint8)": "UINT8",
    "tensor(int8)": "INT8",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(bool)": "BOOL",
}


def open_graph(graph: Path | bytes, *, path: Path | None = None) -> onnxruntime.InferenceSession:
    """A session with one thread that never spins; raises ConfigMismatch where ONNX Runtime cannot load the graph.

    `path` is what the error calls a graph that comes as bytes.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(
            str(graph) if isinstance(graph, Path) else graph, options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # of ONNX Runtime's own classes, which share no base of their own
        name = graph if isinstance(graph, Path) else path or "the graph"
        raise ConfigMismatch(f"{name} is no graph that ONNX Runtime can load: {error}") from error


def check_graph(path: Path, configs: list[StageConfig], *, content: bytes | None = None) -> None:
    """Raise ConfigMismatch unless the graph has the tensors of every configuration and fills its largest batch.

    `content` is the graph where it is not written to `path` yet.
    """
    session = open_graph(content if content is not None else path, path=path)
    inputs, outputs = _declared(session.get_inputs()), _declared(session.get_outputs())
    for config in configs:
        compare(path, config, inputs=inputs, outputs=outputs)
    for batch in sorted({1, *(config.max_batch_size for config in configs if config.max_batch_size)}):
        answered = _answered(session, configs[0], batch, path)
        for config in configs:
            compare(path, config, inputs=inputs, outputs=answered)


def check_repository(repository: Path, stages: Sequence[str]) -> list[Path]:
    """Check every graph of every stage; returns the files that `config.pbtxt` serves.

    Raises ConfigMismatch at the first that does not fit.
    """
    served = []
    for stage in stages:
        configs = stage_configs(repository, stage)
        for path in dict.fromkeys(config.graph for config in configs):
            needed_by = [config for config in configs if config.graph == path]
            if not path.is_file():
                raise ConfigMismatch(f"{path} is missing; {needed_by[0].path} says that Triton needs it")
            check_graph(path, needed_by)
        served.append(configs[0].served)
    return served


def _declared(nodes: Any) -> dict[str, Tensor]:  # noqa: ANN401 - ONNX Runtime brings no types
    return {
        node.name: Tensor(
            _KINDS.get(node.type, node.type), tuple(size if isinstance(size, int) else -1 for size in node.shape)
        )
        for node in nodes
    }


def _answered(session: onnxruntime.InferenceSession, config: StageConfig, batch: int, path: Path) -> dict[str, Tensor]:
    """The outputs' real types and sizes for black pictures; the batch, where it is as asked, as -1."""
    feed = {
        name: np.zeros((batch, *tensor.sizes[1:]), np.uint8 if tensor.kind == "UINT8" else np.float32)
        for name, tensor in config.inputs.items()
    }
    names = [node.name for node in session.get_outputs()]
    try:
        arrays = dict(zip(names, session.run(names, feed), strict=True))
    except Exception as error:  # of ONNX Runtime's own classes, which share no base of their own
        raise ConfigMismatch(f"{path} cannot run a batch of {batch}, which {config.path} allows: {error}") from error
    declared = _declared(session.get_outputs())
    return {
        name: Tensor(declared[name].kind, tuple(-1 if i == 0 and n == batch else n for i, n in enumerate(a.shape)))
        for name, a in arrays.items()
    }
