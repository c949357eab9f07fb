"""The served graphs: equal to torch, of allowed operators only, with the contract's tensors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from lookalike_export.graph_check import check_graph
from lookalike_export.onnx_files import IR_VERSION, OPSET, ParityError, export_stage, forbidden_operators
from lookalike_export.served import STAGES, example_inputs, load_stage
from lookalike_export.stages.colours import ColourShares, to_lab
from lookalike_export.stages.contract import MASK_SIZE, ServedStage
from lookalike_export.stages.detect import suppress
from lookalike_export.stages.vocabulary import (
    CATEGORIES,
    COLOURS,
    GARMENTS,
    MATERIALS,
    PATTERNS,
    categories_of,
    material_of,
)
from lookalike_export.training.assignment import assign, overlap
from lookalike_export.triton_config import stage_configs

REPOSITORY = Path(__file__).parents[2] / "model_repository"

# Static shapes in, static shapes out, and known to TensorRT 10 and to the ONNX Runtimes of older Triton images. Whoever
# needs another one looks it up in both before adding it.
OPERATORS = """
Abs Add And ArgMax AveragePool Cast Clip Concat Constant ConstantOfShape Conv Div Einsum Equal Exp Expand Flatten
Gather GatherElements Gemm GlobalAveragePool Greater GreaterOrEqual HardSigmoid HardSwish Identity LeakyRelu Less
LessOrEqual Log LogSoftmax MatMul Max MaxPool Min Mod Mul Neg Not Or Pad Pow Range ReduceL2 ReduceMax ReduceMean
ReduceMin ReduceProd ReduceSum Relu Reshape Resize Round Shape Sigmoid Slice Softmax Split Sqrt Squeeze Sub Tanh
Tile TopK Transpose Unsqueeze Where Xor QuantizeLinear DequantizeLinear
"""
ALLOWED = set(OPERATORS.split())


def lively(stage: str, module: ServedStage) -> ServedStage:
    """Give random weights the statistics of their own activations; without them the signal dies on its way through."""
    norms = [m for m in module.modules() if isinstance(m, torch.nn.BatchNorm2d | torch.nn.BatchNorm1d)]
    for norm in norms:
        norm.momentum = 1.0
        norm.train()
    with torch.no_grad():
        module(*example_inputs(stage, batch=4, seed=9).values())
    for classes in [m for m in module.modules() if isinstance(m, torch.nn.Conv2d) and m.out_channels == len(GARMENTS)]:
        classes.weight.data *= 8  # decided scores, as trained ones are: the order of equal ones is a matter of rounding
    return module.eval()


@pytest.mark.parametrize("stage", STAGES)
def test_a_random_stage_survives_the_export(stage: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    report = export_stage(stage, lively(stage, load_stage(stage, None)), tmp_path / "model.onnx")
    assert report.size == (tmp_path / "model.onnx").stat().st_size
    assert max(report.differences.values()) <= STAGES[stage].halved_tolerance
    model = onnx.load(str(tmp_path / "model.onnx"))
    assert {node.op_type for node in model.graph.node} <= ALLOWED - {"Pad"}, "paddings belong to the convolutions"
    for tensor in (*model.graph.input, *model.graph.output):
        batch, *sizes = tensor.type.tensor_type.shape.dim
        assert batch.dim_param == "batch" and all(size.dim_value > 0 for size in sizes), tensor.name


@pytest.mark.parametrize("stage", STAGES)
def test_a_committed_graph_runs_anywhere(stage: str) -> None:
    model = onnx.load(str(REPOSITORY / stage / "1" / "model.onnx"))
    assert model.ir_version == IR_VERSION
    assert [o.version for o in model.opset_import if o.domain in ("", "ai.onnx")] == [OPSET]
    assert {o.domain for o in model.opset_import} <= {"", "ai.onnx"}
    assert forbidden_operators(model) == set()
    assert {node.op_type for node in model.graph.node} <= ALLOWED


@pytest.mark.parametrize("stage", STAGES)
def test_a_committed_graph_is_what_every_configuration_of_triton_says(stage: str) -> None:
    configs = stage_configs(REPOSITORY, stage)
    others = ["gpu", "int8", "tensorrt"] if stage == "detect" else ["gpu", "tensorrt"]
    assert [config.path.stem for config in configs] == ["config", *others]
    for graph in {config.graph for config in configs}:
        check_graph(graph, [config for config in configs if config.graph == graph])


@pytest.mark.parametrize("stage", STAGES)
def test_a_committed_graph_takes_any_batch(stage: str) -> None:
    session = onnxruntime.InferenceSession(
        str(REPOSITORY / stage / "1" / "model.onnx"), providers=["CPUExecutionProvider"]
    )
    for batch in (1, 3):
        inputs = {k: v.numpy() for k, v in example_inputs(stage, batch=batch).items()}
        for output, array in zip(session.get_outputs(), session.run(None, inputs), strict=True):
            assert array.shape[0] == batch
            assert np.isfinite(array.astype(np.float64)).all(), output.name


def test_a_different_network_is_refused(tmp_path: Path) -> None:
    class Restless(ServedStage):
        inputs, outputs = ("crops",), ("mask",)

        def forward(self, crops: torch.Tensor) -> torch.Tensor:
            shift = 0 if torch.onnx.is_in_onnx_export() else 40
            return (crops[:, 0, ::4, ::4].float() * 0.5 + shift).to(torch.uint8)

    with pytest.raises(ParityError, match="mask"):
        export_stage("segment", Restless(), tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


def test_a_graph_with_a_loop_is_found() -> None:
    graph = onnx.helper.make_graph([onnx.helper.make_node("NonZero", ["x"], ["y"])], "g", [], [])
    assert forbidden_operators(onnx.helper.make_model(graph)) == {"NonZero"}


def test_suppression_equals_the_greedy_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        corner = torch.rand(30, 2, generator=generator) * 280
        base = torch.cat([corner, corner + torch.rand(30, 2, generator=generator) * 120 + 20], dim=1)
        boxes = (
            base[torch.randint(0, 30, (400,), generator=generator)] + torch.randn(400, 4, generator=generator) * 6
        ).clamp(0, 320)
        boxes[:, 2:] = torch.maximum(boxes[:, 2:], boxes[:, :2] + 1)
        scores = torch.rand(400, len(GARMENTS), generator=generator) ** 6
        _, found, _ = suppress(scores[None], boxes[None])
        expected = _greedy(scores, boxes)
        assert torch.allclose(found[0, : len(expected)], expected)


def _greedy(scores: torch.Tensor, boxes: torch.Tensor, *, threshold: float = 0.6) -> torch.Tensor:
    best, index = scores.flatten().topk(100)
    label, anchor = index % scores.shape[1], index // scores.shape[1]
    kept: list[int] = []
    for i in range(100):
        if all(label[j] != label[i] or overlap(boxes[anchor[j]], boxes[anchor[i]]) <= threshold for j in kept):
            kept.append(i)
    return best[kept][:16]


def test_lab_of_known_colours() -> None:
    # white, black, sRGB red and blue: CIE L*a*b* under D65
    rgb = torch.tensor([[1.0, 1, 1], [0, 0, 0], [1, 0, 0], [0, 0, 1]]).t()[None]
    known = torch.tensor([[100.0, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20], [32.30, 79.19, -107.86]])
    assert torch.allclose(to_lab(rgb)[0].t(), known, atol=0.2)


def test_colours_are_named_and_only_inside_the_mask() -> None:
    shares = ColourShares()
    names = list(COLOURS)
    crops = torch.zeros(2, 3, 224, 224, dtype=torch.uint8)
    crops[0] = torch.tensor(COLOURS["red"], dtype=torch.uint8).view(3, 1, 1)
    crops[1] = torch.tensor(COLOURS["green"], dtype=torch.uint8).view(3, 1, 1)
    crops[1, :, :, :112] = torch.tensor(COLOURS["navy"], dtype=torch.uint8).view(3, 1, 1)
    mask = torch.ones(2, MASK_SIZE, MASK_SIZE)
    mask[1, :, 28:] = 0
    found, shades = shares(crops, mask)
    assert torch.allclose(torch.stack([found, shades]).sum(dim=2), torch.ones(2, 2), atol=1e-5)
    assert names[int(found[0].argmax())] == "red"
    assert found[0].max() > 0.9
    assert names[int(found[1].argmax())] == "navy"


def test_labels_of_both_sets_land_in_the_vocabulary() -> None:
    top, outer, dress = GARMENTS.index("top"), GARMENTS.index("outer"), GARMENTS.index("dress")
    assert [CATEGORIES[i] for i in categories_of(top, "t-shirt", exact=True)] == ["top/t-shirt"]
    assert [CATEGORIES[i] for i in categories_of(top, "top", exact=True)] == ["top/top"]
    assert len(categories_of(top, "top", exact=False)) == 9
    assert [CATEGORIES[i] for i in categories_of(outer, "coat", exact=False)] == ["outer/outwear"]
    assert [CATEGORIES[i] for i in categories_of(dress, "dress", exact=False)] == ["dress"]
    assert MATERIALS[material_of("jeans")] == "denim"
    assert material_of("pants") == -1


@pytest.mark.parametrize(
    ("file", "words"),
    [("category", CATEGORIES), ("pattern", PATTERNS), ("material", MATERIALS), ("colour", tuple(COLOURS))],
)
def test_label_files_are_what_the_heads_mean(file: str, words: tuple[str, ...]) -> None:
    assert (REPOSITORY / "embed" / "labels" / f"{file}.txt").read_text().split() == list(words)


def test_assignment_gives_each_garment_its_cells() -> None:
    from lookalike_export.stages.detect import anchor_centres

    centres, strides = anchor_centres()
    true_boxes = torch.tensor([[20.0, 20, 120, 220], [200, 40, 300, 140]])
    boxes = torch.cat([centres - 50, centres + 50], dim=1)
    owner, quality = assign(
        torch.full((len(centres), 14), -4.0), boxes, centres, strides, true_boxes, torch.tensor([0, 7])
    )
    for index, box in enumerate(true_boxes):
        mine = centres[owner == index]
        assert len(mine) >= 1
        assert ((mine >= box[:2] - 80) & (mine <= box[2:] + 80)).all()
    assert (quality[owner < 0] == 0).all()
