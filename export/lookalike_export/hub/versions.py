"""The embedding version inside an encoder's graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from lookalike_export.hub.errors import HubError

__all__ = ["restamped"]

_OUTPUT = "embedding_version"


def restamped(path: Path, version: int) -> bytes:
    """The graph of `path`, whose vectors say that they are of `version`; raises HubError where it has no such output.

    What gave the version goes on giving the batch: its number is taken away from itself, and the new one added.
    """
    if not path.exists():
        raise HubError(f"{path} does not exist; the encoder of an embedding version must be an ONNX file")
    model = onnx.load(str(path))
    graph = model.graph
    givers = [node for node in graph.node if _OUTPUT in node.output]
    if len(givers) != 1:
        raise HubError(f"{path} gives no {_OUTPUT}; it is no encoder of the tensor contract")
    (giver,) = givers
    before = f"{_OUTPUT}.before.{version}"
    giver.output[list(giver.output).index(_OUTPUT)] = before
    constant = numpy_helper.from_array(np.array([[version]], np.int32), f"{_OUTPUT}.{version}")
    graph.initializer.append(constant)
    graph.node.append(helper.make_node("Sub", [before, before], [f"{before}.zero"]))
    graph.node.append(helper.make_node("Add", [f"{before}.zero", constant.name], [_OUTPUT]))
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString()
    return content
