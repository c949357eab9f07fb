"""Tiny ONNX stand-ins with the tensor contract of the served stages, for tests that need no trained weights."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["ROWS", "copy_repository", "write_stand_ins"]

LETTERBOX, CROP, MASK, LANDMARKS, EMBEDDING = 352, 224, 56, 8, 256
HEADS = {"category": 23, "pattern": 6, "material": 4, "colours": 16}
# What the stand-in detector always finds: box in the letterbox, score, class. Rows below 0.3 exist so that
# tests can lower the threshold.
ROWS = (
    ((100.0, 40.0, 220.0, 160.0), 0.9, 0),
    ((110.0, 150.0, 210.0, 300.0), 0.8, 3),
    ((120.0, 290.0, 200.0, 320.0), 0.6, 6),
    ((10.0, 200.0, 60.0, 260.0), 0.2, 7),
)


def copy_repository(source: Path, target: Path) -> Path:
    """Copy a model repository without its trained graphs and put stand-ins in their place."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.onnx", "__pycache__"))
    write_stand_ins(target)
    # Other precisions of a stage are files of their own.
    for kept in source.glob("*/1/model.*.onnx"):
        folder = target / kept.relative_to(source).parent
        shutil.copyfile(folder / "model.onnx", folder / kept.name)
    return target


def write_stand_ins(repository: Path, *, embedding_version: int = 1) -> None:
    """Write `<stage>/1/model.onnx` for the four ONNX stages; a few milliseconds of work each."""
    models = {
        "detect": _detect(),
        "keypoints": _keypoints(),
        "segment": _segment(),
        "embed": _embed(embedding_version),
    }
    for stage, model in models.items():
        onnx.checker.check_model(model, full_check=True)
        folder = repository / stage / "1"
        folder.mkdir(parents=True, exist_ok=True)
        onnx.save(model, folder / "model.onnx")


def _model(
    name: str,
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    constants: dict[str, npt.NDArray[np.generic]],
) -> onnx.ModelProto:
    initializers = [numpy_helper.from_array(value, key) for key, value in constants.items()]
    graph = helper.make_graph(nodes, name, inputs, outputs, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _tensor(name: str, kind: int, *dims: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, ["batch", *dims])


def _spread(constant: str, output: str, rank: int, zero: str) -> list[onnx.NodeProto]:
    """Repeat a constant once per row of the batch: `zero` is a (batch, 1) tensor of zeros of its type."""
    return [
        helper.make_node("Reshape", [zero, f"shape{rank}"], [f"{output}_zero"]),
        helper.make_node("Add", [f"{output}_zero", constant], [output]),
    ]


def _zero(image: str) -> list[onnx.NodeProto]:
    return [
        helper.make_node("Cast", [image], ["image_float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["image_float"], ["mean"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("Mul", ["mean", "nothing"], ["zero"]),
        helper.make_node("Cast", ["zero"], ["zero_int"], to=TensorProto.INT32),
    ]


def _shapes() -> dict[str, npt.NDArray[np.generic]]:
    ranks = {f"shape{rank}": np.array([-1] + [1] * (rank - 1), np.int64) for rank in (2, 3)}
    return {**ranks, "nothing": np.zeros(1, np.float32)}


def _detect() -> onnx.ModelProto:
    boxes, scores = np.zeros((1, 16, 4), np.float32), np.zeros((1, 16), np.float32)
    classes = np.zeros((1, 16), np.int32)
    for row, (box, score, kind) in enumerate(ROWS):
        boxes[0, row], scores[0, row], classes[0, row] = box, score, kind
    nodes = [
        *_zero("letterbox"),
        *_spread("all_boxes", "boxes", 3, "zero"),
        *_spread("all_scores", "scores", 2, "zero"),
        *_spread("all_classes", "classes", 2, "zero_int"),
    ]
    outputs = [
        _tensor("boxes", TensorProto.FLOAT, 16, 4),
        _tensor("scores", TensorProto.FLOAT, 16),
        _tensor("classes", TensorProto.INT32, 16),
    ]
    inputs = [_tensor("letterbox", TensorProto.UINT8, 3, LETTERBOX, LETTERBOX)]
    constants = {**_shapes(), "all_boxes": boxes, "all_scores": scores, "all_classes": classes}
    return _model("detect", nodes, inputs, outputs, constants)


def _keypoints() -> onnx.ModelProto:
    """Landmarks on the corners and edges of the inner half of the crop, all visible."""
    x = [0.25, 0.75, 0.25, 0.75, 0.25, 0.75, 0.5, 0.5]
    y = [0.25, 0.25, 0.5, 0.5, 0.75, 0.75, 0.25, 0.75]
    landmarks = np.stack([x, y, [1.0] * LANDMARKS], axis=1).astype(np.float32)[None]
    nodes = [*_zero("crops"), *_spread("landmarks", "keypoints", 3, "zero")]
    inputs = [_tensor("crops", TensorProto.UINT8, 3, CROP, CROP)]
    outputs = [_tensor("keypoints", TensorProto.FLOAT, LANDMARKS, 3)]
    return _model("keypoints", nodes, inputs, outputs, {**_shapes(), "landmarks": landmarks})


def _segment() -> onnx.ModelProto:
    """The crop's brightness at a quarter of its size: a mask that shows which way up it is."""
    nodes = [
        helper.make_node("Cast", ["crops"], ["image_float"], to=TensorProto.FLOAT),
        helper.make_node("AveragePool", ["image_float"], ["small"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("ReduceMean", ["small"], ["grey"], axes=[1], keepdims=0),
        helper.make_node("Cast", ["grey"], ["mask"], to=TensorProto.UINT8),
    ]
    inputs = [_tensor("crops", TensorProto.UINT8, 3, CROP, CROP)]
    return _model("segment", nodes, inputs, [_tensor("mask", TensorProto.UINT8, MASK, MASK)], {})


def _embed(embedding_version: int) -> onnx.ModelProto:
    """A random projection of an 8x8 thumbnail plus the mean of mask and landmarks, another one for each version."""
    random = np.random.default_rng(6 + embedding_version)
    nodes = [
        *_zero("crops"),
        helper.make_node("AveragePool", ["image_float"], ["small"], kernel_shape=[28, 28], strides=[28, 28]),
        helper.make_node("Flatten", ["small"], ["flat_image"]),
        helper.make_node("Cast", ["mask"], ["mask_float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["mask_float"], ["mask_mean"], axes=[1, 2], keepdims=0),
        helper.make_node("ReduceMean", ["keypoints"], ["landmark_mean"], axes=[1, 2], keepdims=0),
        helper.make_node("Reshape", ["mask_mean", "shape2"], ["mask_column"]),
        helper.make_node("Reshape", ["landmark_mean", "shape2"], ["landmark_column"]),
        helper.make_node("Concat", ["flat_image", "mask_column", "landmark_column"], ["pixels"], axis=1),
        helper.make_node("Div", ["pixels", "full"], ["features"]),
        helper.make_node("MatMul", ["features", "projection"], ["raw"]),
        helper.make_node("LpNormalization", ["raw"], ["embedding"], axis=1, p=2),
        *_spread("version", "embedding_version", 2, "zero_int"),
    ]
    constants: dict[str, npt.NDArray[np.generic]] = {
        **_shapes(),
        "full": np.full(1, 255, np.float32),
        "projection": random.normal(size=(3 * 8 * 8 + 2, EMBEDDING)).astype(np.float32),
        "version": np.array([[embedding_version]], np.int32),
    }
    outputs = [_tensor("embedding", TensorProto.FLOAT, EMBEDDING)]
    for head, size in HEADS.items():
        nodes += [
            helper.make_node("MatMul", ["features", f"{head}_weights"], [f"{head}_logits"]),
            helper.make_node("Softmax", [f"{head}_logits"], [head], axis=1),
        ]
        constants[f"{head}_weights"] = random.normal(size=(3 * 8 * 8 + 2, size)).astype(np.float32) * np.float32(0.3)
        outputs.append(_tensor(head, TensorProto.FLOAT, size))
    inputs = [
        _tensor("crops", TensorProto.UINT8, 3, CROP, CROP),
        _tensor("mask", TensorProto.UINT8, MASK, MASK),
        _tensor("keypoints", TensorProto.FLOAT, LANDMARKS, 3),
    ]
    return _model("embed", nodes, inputs, [*outputs, _tensor("embedding_version", TensorProto.INT32, 1)], constants)
