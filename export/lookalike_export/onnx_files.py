"""Writing a served stage as ONNX that older runtimes read too, and proving that it is the same network."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper

from lookalike_export.served import STAGES, example_inputs
from lookalike_export.stages.contract import ServedStage

Arrays = dict[str, npt.NDArray[Any]]

__all__ = ["IR_VERSION", "OPSET", "ParityError", "Report", "export_stage", "forbidden_operators"]

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


def export_stage(stage: str, module: ServedStage, path: Path) -> Report:
    """Write `path` after it agreed with torch on several batches; raises ParityError otherwise.

    The graph is compared twice: in full precision within the stage's tolerance, which proves the same network, and
    as written, with its weights halved, within a wider one, whose measured differences the report holds.
    """
    model = _traced(stage, module)
    _fold_pads(model)
    model.ir_version = IR_VERSION
    _compare(stage, module, model.SerializeToString(), limit=STAGES[stage].tolerance)
    _halve_initializers(model)
    onnx.checker.check_model(model, full_check=True)
    if found := forbidden_operators(model):
        raise ParityError(f"the {stage} graph holds {sorted(found)}, whose shapes depend on data")
    content = model.SerializeToString()
    differences = _compare(stage, module, content, limit=STAGES[stage].halved_tolerance)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".partial")
    temporary.write_bytes(content)
    temporary.rename(path)
    return Report(path, len(content), differences)


def _traced(stage: str, module: ServedStage) -> onnx.ModelProto:
    inputs = example_inputs(stage)
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
    return onnx.load_from_string(buffer.getvalue())


def _fold_pads(model: onnx.ModelProto) -> None:
    """Move a zero padding into the convolution that follows; the exporter keeps them apart, which costs a pass."""
    graph = model.graph
    constants = {i.name: i for i in graph.initializer} | {
        n.output[0]: n.attribute[0].t for n in graph.node if n.op_type == "Constant"
    }
    users: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    for pad in [n for n in graph.node if n.op_type == "Pad"]:
        after = users.get(pad.output[0], [])
        if len(after) != 1 or after[0].op_type != "Conv" or pad.input[1] not in constants:
            continue
        pads = numpy_helper.to_array(constants[pad.input[1]])
        attribute = next(a for a in after[0].attribute if a.name == "pads")
        if any(attribute.ints) or pads[[0, 1, 4, 5]].any():
            continue
        attribute.ints[:] = [int(pads[2]), int(pads[3]), int(pads[6]), int(pads[7])]
        after[0].input[0] = pad.input[0]
        graph.node.remove(pad)


def _halve_initializers(model: onnx.ModelProto) -> None:
    """Store large weights as fp16 behind a Cast: half the file; a CPU runtime folds the Cast and computes in fp32."""
    casts = []
    for initializer in model.graph.initializer:
        if initializer.data_type != TensorProto.FLOAT or int(np.prod(initializer.dims)) < 256:
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
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
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
