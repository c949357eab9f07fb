"""The speed table: relations measured in one run, limits, and the file that other tools read."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from lookalike_export.model_speed import LIMITS, PLAIN, compare_speed, main, plain_network
from support_glue import REPOSITORY
from support_models import copy_repository


def products(count: int, path: Path) -> Path:
    """A graph of `count` matrix products in a row."""
    weights = numpy_helper.from_array(np.full((256, 256), 1 / 256, np.float32), "weights")
    names = ["x", *(f"y{i}" for i in range(count))]
    nodes = [helper.make_node("MatMul", [a, "weights"], [b]) for a, b in pairwise(names)]
    sides = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 256]) for name in (names[0], names[-1])]
    graph = helper.make_graph(nodes, "products", sides[:1], sides[1:], [weights])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_the_first_graph_is_one_and_more_work_is_more(tmp_path: Path) -> None:
    x = {"x": np.ones((64, 256), np.float32)}
    timings = compare_speed(
        {"short": (products(2, tmp_path / "short.onnx"), x), "long": (products(40, tmp_path / "long.onnx"), x)},
        rounds=9,
        runs=3,
    )
    assert timings["short"].relative == timings["short"].low == timings["short"].high == 1
    long = timings["long"]
    assert 4 < long.low <= long.relative <= long.high
    assert long.milliseconds > timings["short"].milliseconds


def test_the_yardstick_is_the_published_network_with_its_classifier() -> None:
    content, inputs = plain_network()
    model = onnx.load_from_string(content)
    assert inputs["pixels"].shape == (1, 3, 224, 224)
    weights = sum(int(np.prod(i.dims)) for i in model.graph.initializer)
    assert 4.5e6 < weights < 4.8e6  # Lite0 has 4.65 million parameters, its norms folded into the convolutions
    assert [d.dim_value for d in model.graph.output[0].type.tensor_type.shape.dim][1:] == [1000]
    assert not {"Pad"} & {node.op_type for node in model.graph.node}


def test_the_table_and_the_file_hold_every_stage_with_its_limit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    repository = copy_repository(REPOSITORY, tmp_path / "repository")
    out = tmp_path / "build" / "model_speed.json"
    assert main(["--repository", str(repository), "--rounds", "2", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    content = json.loads(out.read_text())
    assert {stage: content[stage]["limit"] for stage in LIMITS} == LIMITS
    assert all(0 < content[stage]["relative"] <= limit for stage, limit in LIMITS.items())
    assert content["plain"]["relative"] == 1 and PLAIN in printed
    assert "OVER" not in printed and str(out) in printed


def test_a_stage_over_its_limit_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    repository = copy_repository(REPOSITORY, tmp_path / "repository")
    slow = repository / "keypoints" / "1" / "model.onnx"
    model = onnx.load(slow)
    # The same answer, after a convolution that no limit allows.
    weights = numpy_helper.from_array(np.zeros((64, 3, 9, 9), np.float32), "slow.weights")
    model.graph.initializer.append(weights)
    model.graph.node.extend(
        [
            helper.make_node("Cast", ["crops"], ["slow.pixels"], to=TensorProto.FLOAT),
            helper.make_node("Conv", ["slow.pixels", "slow.weights"], ["slow.maps"]),
        ]
    )
    model.graph.output.append(helper.make_tensor_value_info("slow.maps", TensorProto.FLOAT, ["batch", 64, 216, 216]))
    onnx.save(model, slow)
    out = tmp_path / "model_speed.json"
    assert main(["--repository", str(repository), "--rounds", "2", "--out", str(out)]) == 1
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("keypoints")]
    assert line.endswith("OVER")


def test_a_graph_of_another_contract_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    repository = copy_repository(REPOSITORY, tmp_path / "repository")
    path = repository / "embed" / "1" / "model.onnx"
    path.write_bytes((repository / "segment" / "1" / "model.onnx").read_bytes())
    assert main(["--repository", str(repository), "--out", str(tmp_path / "speed.json")]) == 1
    assert f"model_speed: {path} has no input mask" in capsys.readouterr().err
    assert not (tmp_path / "speed.json").exists()
