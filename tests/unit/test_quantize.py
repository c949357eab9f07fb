"""int8 graphs: which layers, how alike, and when one is worth keeping."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from lookalike_export.quantize import MOST_LOST, Measured, best_int8, body_nodes, measure, quantize_graph, table
from lookalike_export.trials import Trial, agreement, run_graph

RANDOM = np.random.default_rng(3)
Crops = npt.NDArray[np.uint8]


def network(path: Path) -> Path:
    """Pixels, two convolutions with a skip, and arithmetic after them; weights as fp16, as the stages' are."""

    def weights(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array((RANDOM.normal(size=shape) * 0.2).astype(np.float16), f"{name}.half")

    nodes = [
        helper.make_node("Cast", ["first.half"], ["first"], "first.cast", to=TensorProto.FLOAT),
        helper.make_node("Cast", ["second.half"], ["second"], "second.cast", to=TensorProto.FLOAT),
        helper.make_node("Cast", ["crops"], ["float"], "pixels", to=TensorProto.FLOAT),
        helper.make_node("Div", ["float", "full"], ["x"], "scale"),
        helper.make_node("Conv", ["x", "first"], ["a"], "/net/backbone/first", pads=[1, 1, 1, 1]),
        helper.make_node("Clip", ["a", "zero", "six"], ["b"], "/net/backbone/clip"),
        helper.make_node("Conv", ["b", "second"], ["c"], "/net/backbone/second", pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["b", "c"], ["d"], "/net/backbone/skip"),
        helper.make_node("ReduceMean", ["d"], ["e"], "mean", axes=[2, 3], keepdims=0),
        helper.make_node("Add", ["e", "offset"], ["embedding"], "boxes"),
    ]
    constants = [
        weights("first", 16, 3, 3, 3),
        weights("second", 16, 16, 3, 3),
        *(
            numpy_helper.from_array(np.array(value, np.float32), name)
            for name, value in (("full", 255), ("zero", 0), ("six", 6), ("offset", np.ones(16)))
        ),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("crops", TensorProto.UINT8, ["batch", 3, 32, 32])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", 16])],
        constants,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def crops(count: int) -> Crops:
    return RANDOM.integers(0, 255, (count, 3, 32, 32), np.uint8)


def test_only_convolutions_and_what_stays_between_them_are_chosen(tmp_path: Path) -> None:
    model = onnx.load(network(tmp_path / "plain.onnx"))
    assert body_nodes(model) == [f"/net/backbone/{name}" for name in ("first", "clip", "second", "skip")]


def test_an_int8_graph_answers_nearly_the_same_for_any_batch(tmp_path: Path) -> None:
    plain, target = network(tmp_path / "plain.onnx"), tmp_path / "int8.onnx"
    quantize_graph(plain, target, {"crops": crops(8)}, chosen=lambda name: True)
    model = onnx.load(target)
    assert model.ir_version == 8 and {o.domain for o in model.opset_import} <= {"", "ai.onnx"}
    kinds = [node.op_type for node in model.graph.node]
    assert "QuantizeLinear" in kinds and "QLinearConv" not in kinds
    scales = [i for i in model.graph.initializer if list(i.dims) == [16] and i.data_type == TensorProto.FLOAT]
    assert scales, "weights have a scale per channel"
    seen = {"crops": crops(5)}
    ours, theirs = run_graph(plain, seen)["embedding"], run_graph(target, seen)["embedding"]
    assert theirs.shape == (5, 16)
    assert 0 < np.abs(ours - theirs).max() < 0.05 * np.abs(ours).max()


def test_a_variant_that_chooses_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"plain\.onnx has no layer that this variant quantizes"):
        quantize_graph(
            network(tmp_path / "plain.onnx"), tmp_path / "int8.onnx", {"crops": crops(1)}, chosen=lambda name: False
        )


def test_graphs_are_measured_on_the_same_photographs(tmp_path: Path) -> None:
    plain, target = network(tmp_path / "plain.onnx"), tmp_path / "int8.onnx"
    quantize_graph(plain, target, {"crops": crops(8)}, chosen=lambda name: True)
    trial = Trial({"crops": crops(6)}, lambda outputs: {"rows": float(len(outputs["embedding"]))})
    committed, quantized = measure("embed", {"fp32": plain, "int8": target}, trial, rounds=2)
    assert committed.relative == 1 and committed.size == plain.stat().st_size
    assert committed.figures == quantized.figures == {"rows": 6.0}
    rows = table("embed", [committed, quantized]).splitlines()
    assert rows[0].startswith("| embed | fp32 |") and rows[0].endswith("| committed |")


def test_a_graph_is_kept_where_it_gains_much_and_loses_little() -> None:
    def measured(relative: float, miou: float) -> Measured:
        return Measured("int8", 1, relative, {"miou": miou, "other": 0.0}, 1.0)

    committed = measured(1, 0.78)
    assert measured(0.5, 0.78 - MOST_LOST / 2).better_than(committed)
    assert measured(0.5, 0.8).better_than(committed)
    assert not measured(0.5, 0.78 - MOST_LOST * 2).better_than(committed)
    assert not measured(0.95, 0.8).better_than(committed)
    good, faster, worse = measured(0.6, 0.78), measured(0.5, 0.778), measured(0.3, 0.7)
    assert best_int8([committed, good, faster, worse]) is faster
    assert best_int8([committed, worse]) is None


def test_agreement_of_boxes_asks_for_class_and_place() -> None:
    ours = {
        "boxes": np.array([[[0, 0, 100, 100], [50, 50, 90, 90], [0, 0, 9, 9]]], np.float32),
        "scores": np.array([[0.9, 0.5, 0.1]], np.float32),
        "classes": np.array([[0, 3, 3]], np.int32),
    }
    moved = {**ours, "boxes": ours["boxes"] + np.float32(1)}
    assert agreement("detect", ours, ours) == agreement("detect", ours, moved) == 1
    assert agreement("detect", ours, {**ours, "classes": np.array([[0, 4, 3]], np.int32)}) == 0.5
    assert agreement("detect", ours, {**ours, "boxes": ours["boxes"] + np.float32(20)}) == 0


def test_agreement_of_masks_landmarks_and_vectors() -> None:
    mask = np.zeros((1, 4, 4), np.uint8)
    mask[0, :2] = 255
    half = mask.copy()
    half[0, 1] = 0
    assert agreement("segment", {"mask": mask}, {"mask": half}) == 0.5
    points = np.full((1, 8, 3), 0.5, np.float32)
    apart = points.copy()
    apart[0, :2, 0] += 0.1
    assert agreement("keypoints", {"keypoints": points}, {"keypoints": apart}) == 0.75
    unit = np.eye(2, dtype=np.float32)
    assert agreement("embed", {"embedding": unit}, {"embedding": unit[::-1]}) == 0
