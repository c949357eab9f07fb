"""A network that is filled from its own exported graph is the same network, in evaluation and in training."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from torch import Tensor, nn

from lookalike_export.graph_weights import NotOurGraph, load_graph, renew_statistics
from lookalike_export.onnx_files import halve_initializers, traced
from lookalike_export.served import STAGES, example_inputs
from lookalike_export.stages.segment import Segmenter
from lookalike_export.training.loop import start_from


def exported(stage: str, path: Path) -> nn.Module:
    """A stage with random weights and statistics, and its graph at `path`."""
    torch.manual_seed(4)
    model = STAGES[stage].build().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 2.0)
    graph = traced(STAGES[stage].serve(model).eval(), example_inputs(stage))
    halve_initializers(graph)
    onnx.save(graph, str(path))
    return model


@pytest.mark.parametrize("stage", ["segment", "detect"])
@torch.no_grad()
def test_a_graph_gives_back_the_weights_it_was_exported_with(stage: str, tmp_path: Path) -> None:
    model = exported(stage, tmp_path / "model.onnx")
    again = load_graph(STAGES[stage].build(), tmp_path / "model.onnx")
    pixels = next(iter(example_inputs(stage).values()))
    ours, theirs = model(pixels), again(pixels)
    for one, other in zip(*((v if isinstance(v, tuple) else (v,)) for v in (ours, theirs)), strict=True):
        # half precision is what the file keeps
        assert torch.allclose(one, other, rtol=0.02, atol=0.02 * float(one.abs().max()))


@torch.no_grad()
def test_renewed_statistics_change_nothing_and_make_training_begin_there(tmp_path: Path) -> None:
    exported("segment", tmp_path / "model.onnx")
    model = start_from(Segmenter(pretrained=False), tmp_path / "model.onnx")
    pixels = example_inputs("segment", batch=8)["crops"]
    before: Tensor = model(pixels)
    renew_statistics(model, model, [pixels])
    after: Tensor = model(pixels)
    assert torch.allclose(before, after, atol=1e-3 * float(before.abs().max()))
    learning: Tensor = model.train()(pixels)
    # the batch's own statistics are now the running ones, so normalising by either is the same
    assert float((learning - before).abs().mean()) < 0.05 * float(before.abs().mean())


def test_a_graph_of_another_network_is_named(tmp_path: Path) -> None:
    exported("segment", tmp_path / "model.onnx")
    with pytest.raises(NotOurGraph, match=r"model\.onnx was not exported from Detector"):
        load_graph(STAGES["detect"].build(), tmp_path / "model.onnx")
