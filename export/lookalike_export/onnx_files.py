"""Writing a served stage as ONNX that older runtimes read too, and proving that it is the same network."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import Tensor

from lookalike_export.graph_check import check_graph, open_graph
from lookalike_export.served import STAGES, example_inputs
from lookalike_export.stages.contract import ServedStage
from lookalike_export.triton_config import StageConfig

Arrays = dict[str, npt.NDArray[Any]]

__all__ = [
    "IR_VERSION",
    "OPSET",
    "ParityError",
    "Report",
    "export_stage",
    "forbidden_operators",
    "halve_initializers",
    "traced",
]

OPSET, IR_VERSION = 17, 8
"""Older ONNX Runtimes in Triton images refuse a newer IR."""

_FORBIDDEN = {"NonMaxSuppression", "Loop", "If", "NonZero", "Scan"}


class ParityError(RuntimeError):
    """ONNX and torch disagree by more than the stage's tolerance; nothing was written."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was written: bytes, and the largest difference from torch per output."""

    path: Path
    size: int
    differences: dict[str, float]


def forbidden_operators(model: onnx.ModelProto) -> set[str]:
    """Operators whose shapes depend on data; TensorRT and CUDA graphs cannot hold them."""
    return {node.op_type for node in model.graph.node} & _FORBIDDEN


def export_stage(stage: str, module: ServedStage, path: Path, *, configs: Sequence[StageConfig] = ()) -> Report:
    """Write `path` after it agreed with torch on several batches and with Triton's configurations of the stage.

    The graph is compared with torch twice: in full precision within the stage's tolerance, which proves the same
    network, and as written, with its weights halved, within a wider one, whose measured differences the report holds.
    Raises ParityError where it differs, ConfigMismatch where Triton would refuse it; then nothing is written.
    """
    model = traced(module, example_inputs(stage))
    _compare(stage, module, model.SerializeToString(), limit=STAGES[stage].tolerance)
    halve_initializers(model)
    onnx.checker.check_model(model, full_check=True)
    if found := forbidden_operators(model):
        raise ParityError(f"the {stage} graph holds {sorted(found)}, whose shapes depend on data")
    content = model.SerializeToString()
    differences = _compare(stage, module, content, limit=STAGES[stage].halved_tolerance)
    if configs:
        check_graph(path, list(configs), content=content)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".partial")
    temporary.write_bytes(content)
    temporary.rename(path)
    return Report(path, len(content), differences)


@torch.no_grad()
def traced(module: ServedStage, inputs: dict[str, Tensor]) -> onnx.ModelProto:
    """The graph of a module for any batch; every other size of its outputs is fixed, as Triton's configurations are."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # The tracing exporter announces its successor, which writes newer opsets than we can serve.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            tuple(inputs.values()),
            buffer,  # type: ignore[arg-type]  # the tracing exporter takes buffers too
            input_names=list(inputs),
            output_names=list(module.outputs),
            dynamic_axes={name: {0: "batch"} for name in (*inputs, *module.outputs)},
            opset_version=OPSET,
            dynamo=False,
        )
    model = onnx.load_from_string(buffer.getvalue())
    found = module(*inputs.values())
    for output, tensor in zip(model.graph.output, found if isinstance(found, tuple) else (found,), strict=True):
        for dimension, size in zip(output.type.tensor_type.shape.dim[1:], tensor.shape[1:], strict=True):
            dimension.dim_value = size  # the exporter invents names for what it cannot infer
    _fold_pads(model)
    model.ir_version = IR_VERSION
    return model


def _fold_pads(model: onnx.ModelProto) -> None:
    """Move a zero padding into the convolution that follows; the exporter keeps them apart, which costs a pass."""
    graph = model.graph
    users: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    for pad in [n for n in graph.node if n.op_type == "Pad"]:
        after = users.get(pad.output[0], [])
        if len(after) != 1 or after[0].op_type != "Conv":
            continue
        pads = _constant(model, pad.input[1])
        attribute = next(a for a in after[0].attribute if a.name == "pads")
        if any(attribute.ints) or pads[[0, 1, 4, 5]].any():
            continue
        attribute.ints[:] = [int(pads[2]), int(pads[3]), int(pads[6]), int(pads[7])]
        after[0].input[0] = pad.input[0]
        graph.node.remove(pad)
    _remove_unread(graph)


def _constant(model: onnx.ModelProto, name: str) -> npt.NDArray[Any]:
    """The value of a tensor that depends on no input; the exporter computes paddings with a dozen nodes each."""
    read, nodes = {name}, []
    for node in reversed(model.graph.node):
        if not read.isdisjoint(node.output):
            read.update(node.input)
            nodes.append(node)
    weights = [i for i in model.graph.initializer if i.name in read]
    output = helper.make_tensor_value_info(name, TensorProto.INT64, None)
    part = helper.make_graph(nodes[::-1], "constant", [], [output], weights)
    found: Any = ReferenceEvaluator(helper.make_model(part, opset_imports=list(model.opset_import))).run(None, {})
    return np.asarray(found[0])


def _remove_unread(graph: onnx.GraphProto) -> None:
    """Remove nodes and weights whose results nobody reads any more; nodes come before their readers."""
    read = {output.name for output in graph.output}
    for node in reversed(list(graph.node)):
        if read.isdisjoint(node.output):
            graph.node.remove(node)
        else:
            read.update(node.input)
    for initializer in [i for i in graph.initializer if i.name not in read]:
        graph.initializer.remove(initializer)


def halve_initializers(model: onnx.ModelProto) -> None:
    """Store large weights as fp16 behind a Cast: half the file; a CPU runtime folds the Cast and computes in fp32.

    Scales of quantized layers stay as they are: the small ones are no numbers of fp16.
    """
    scales = {
        n for node in model.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear") for n in node.input
    }
    casts = []
    for initializer in model.graph.initializer:
        if initializer.data_type != TensorProto.FLOAT or int(np.prod(initializer.dims)) < 256:
            continue
        if initializer.name in scales:
            continue
        name = initializer.name
        half = numpy_helper.from_array(numpy_helper.to_array(initializer).astype(np.float16), f"{name}.half")
        initializer.CopyFrom(half)
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], name=f"{name}.cast", to=TensorProto.FLOAT))
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(casts + nodes)


@torch.no_grad()
def _compare(stage: str, module: ServedStage, content: bytes, *, limit: float) -> dict[str, float]:
    """Largest differences per output over batches of 1, 2 and 5; raises ParityError above `limit`."""
    session = open_graph(content)
    names = module.outputs
    worst = dict.fromkeys(names, 0.0)
    for seed, batch in enumerate((1, 2, 5)):
        inputs = example_inputs(stage, batch=batch, seed=seed)
        expected = module(*inputs.values())
        ours = {
            k: v.numpy() for k, v in zip(names, expected if isinstance(expected, tuple) else (expected,), strict=True)
        }
        theirs = dict(zip(names, session.run(list(names), {k: v.numpy() for k, v in inputs.items()}), strict=True))
        for name in names:
            if ours[name].shape != theirs[name].shape:
                raise ParityError(f"{stage}: {name} is {theirs[name].shape} in ONNX but {ours[name].shape} in torch")
        for name, difference in (_detections_apart if stage == "detect" else _apart)(ours, theirs).items():
            worst[name] = max(worst[name], difference)
    over = {name: value for name, value in worst.items() if not value <= limit}
    if over:
        raise ParityError(f"{stage}: ONNX differs from torch by {over}; {limit} is allowed")
    return worst


def _apart(ours: Arrays, theirs: Arrays) -> dict[str, float]:
    return {name: float(np.abs(ours[name].astype(np.float64) - theirs[name].astype(np.float64)).max()) for name in ours}


def _detections_apart(ours: Arrays, theirs: Arrays) -> dict[str, float]:
    """Differences between detections regardless of their order, which near-equal scores may swap.

    Every box of ours that is not about to fall off the end of the list is held against the nearest of theirs of
    the same class.
    """
    apart = {"boxes": 0.0, "scores": float(np.abs(ours["scores"] - theirs["scores"]).max()), "classes": 0.0}
    sure = ours["scores"] > np.maximum(0.02, theirs["scores"][:, -1:] + 0.02)
    for photo, slot in zip(*np.nonzero(sure), strict=True):
        same = theirs["classes"][photo] == ours["classes"][photo, slot]
        distance = np.abs(theirs["boxes"][photo, same] - ours["boxes"][photo, slot]).max(axis=1, initial=0.0)
        apart["boxes"] = max(apart["boxes"], float(distance.min(initial=np.inf)))
    return apart
