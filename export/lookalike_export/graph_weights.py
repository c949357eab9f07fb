"""The weights of an exported graph, put back into its network: where training goes on without a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

__all__ = ["NotOurGraph", "load_graph", "renew_statistics"]

M = TypeVar("M", bound=nn.Module)


class NotOurGraph(ValueError):
    """An ONNX file that was not exported from this network; the message names it."""


@torch.no_grad()
def load_graph(model: M, path: Path) -> M:
    """Fill `model` with the weights of `path`; what a graph does not hold, heads of training alone, stays as it is.

    The export folds every batch normalisation into its convolution. Here it becomes one that only adds the bias;
    training needs `renew_statistics` after it. Raises NotOurGraph when a convolution of the graph has no place in
    `model` or a tensor another shape.
    """
    graph = onnx.load(str(path)).graph
    arrays = {i.name.removesuffix(".half"): numpy_helper.to_array(i).astype(np.float32) for i in graph.initializer}
    for node in graph.node:  # of equal tensors the exporter keeps one
        if node.op_type == "Identity" and node.input[0] in arrays:
            arrays[node.output[0]] = arrays[node.input[0]]
    state = model.state_dict()
    try:
        for node in (node for node in graph.node if node.op_type == "Conv"):
            _fill_convolution(
                model, _module_name(node.name), [torch.from_numpy(arrays[n].copy()) for n in node.input[1:]]
            )
        for name, array in arrays.items():
            own = name.partition(".")[2]  # the export wraps a network once
            if own in state and "Conv" not in name:
                state[own].copy_(torch.from_numpy(array.copy()))
    except (AttributeError, KeyError, RuntimeError) as error:
        raise NotOurGraph(f"{path} was not exported from {type(model).__name__}: {error}") from error
    return model.eval()


def _module_name(node: str) -> str:
    """The module of a traced node: `/embedder/backbone/stages.1/stages.1.0/conv/Conv` is backbone.stages.1.0.conv.

    A child of a list or a sequence carries its parent's name again, so of such a chain only the last one counts.
    """
    parts = node.strip("/").split("/")[1:-1]
    kept = [part for part, after in zip(parts, [*parts[1:], ""], strict=True) if not after.startswith(f"{part}.")]
    return ".".join(kept)


def _fill_convolution(model: nn.Module, name: str, tensors: list[Tensor]) -> None:
    convolution: Any = model.get_submodule(name)
    weight, bias = tensors[0], tensors[1] if len(tensors) > 1 else None
    if convolution.weight.shape != weight.shape:
        raise KeyError(f"{name} is {tuple(convolution.weight.shape)} there and {tuple(weight.shape)} in the graph")
    convolution.weight.copy_(weight)
    if bias is None:
        return
    if convolution.bias is not None:
        convolution.bias.copy_(bias)
        return
    norm: Any = model.get_submodule(f"{name.removesuffix('.0.conv')}.1")
    norm.running_mean.zero_()
    norm.running_var.fill_(1.0)
    norm.weight.fill_((1 + norm.eps) ** 0.5)
    norm.bias.copy_(bias)


@torch.no_grad()
def renew_statistics(model: nn.Module, run: Callable[[Any], object], batches: Iterable[Any]) -> None:
    """Give every batch normalisation the statistics of what reaches it, and weights that undo them: same function.

    `run` puts one batch through `model`.
    """
    model.eval()
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    with _watched(norms) as seen:
        for batch in batches:
            run(batch)
    for norm in norms:
        rows = seen.get(norm, [])
        if not rows or norm.running_mean is None or norm.running_var is None:
            continue
        mean, square = torch.stack(rows).mean(dim=0)
        variance = (square - mean.square()).clamp(min=1e-8)
        grow = norm.weight / (norm.running_var + norm.eps).sqrt()
        norm.bias.add_(grow * (mean - norm.running_mean))
        norm.weight.copy_(grow * (variance + norm.eps).sqrt())
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)


@contextmanager
def _watched(norms: list[nn.BatchNorm2d]) -> Iterator[dict[nn.BatchNorm2d, list[Tensor]]]:
    """Mean and mean square (2, c) of every input of every norm during the block."""
    seen: dict[nn.BatchNorm2d, list[Tensor]] = {}

    def watch(norm: nn.Module, inputs: tuple[Tensor, ...], _output: Tensor) -> None:
        assert isinstance(norm, nn.BatchNorm2d)
        x = inputs[0].float()
        seen.setdefault(norm, []).append(torch.stack([x.mean(dim=(0, 2, 3)), x.square().mean(dim=(0, 2, 3))]))

    handles = [norm.register_forward_hook(watch) for norm in norms]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
