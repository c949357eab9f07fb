"""int8 graphs of the stages: static, weights symmetric per channel, calibrated on photographs, kept where better.

They are for processors with VNNI (AVX-512 VNNI, AVX-VNNI): older ones add up pairs of int8 products in 16 bits, which
overflow, and are no faster. TensorRT wants signed activations and takes the full graph anyway, so a kept int8 graph is
a file of its own beside `model.onnx`, which configurations for CPUs may serve.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from lookalike_export.graph_check import check_graph
from lookalike_export.model_speed import compare_speed
from lookalike_export.onnx_files import halve_initializers
from lookalike_export.trials import Arrays, Photographs, Trial, agreement, calibration_inputs, run_graph, trial_of
from lookalike_export.triton_config import stage_configs

__all__ = [
    "MOST_LOST",
    "TABLE_HEAD",
    "VARIANTS",
    "Measured",
    "best_int8",
    "body_nodes",
    "int8_path",
    "measure",
    "quantize_graph",
    "table",
    "try_int8",
]

MOST_LOST, LEAST_GAINED = 0.005, 0.1
"""int8 is worth keeping where the stage's figure falls by no more than this and a run gets shorter by this share."""


def _everything(_: str) -> bool:
    return True


def _only_trunk(node: str) -> bool:
    return "/backbone/" in node and "/backbone/stem/" not in node


VARIANTS: dict[str, Callable[[str], bool]] = {"int8": _everything, "int8, trunk only": _only_trunk}
"""Which layers are tried: all of the network's body, then without the first layer and the heads."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One graph: file size, time relative to the committed graph, figures on photographs, agreement with it (0..1)."""

    variant: str
    size: int
    relative: float
    figures: dict[str, float]
    agreement: float

    def better_than(self, committed: Measured) -> bool:
        """Whether it is enough faster and hardly worse; the first figure decides."""
        figure = next(iter(committed.figures))
        lost = committed.figures[figure] - self.figures[figure]
        return lost <= MOST_LOST and self.relative <= 1 - LEAST_GAINED


class _Rows(CalibrationDataReader):  # type: ignore[misc]  # ONNX Runtime brings no types
    """One row at a time, as ONNX Runtime's calibration wants it."""

    def __init__(self, inputs: Arrays) -> None:
        count = len(next(iter(inputs.values())))
        self._rows: Iterator[dict[str, Any]] = iter(
            [{name: array[i : i + 1] for name, array in inputs.items()} for i in range(count)]
        )

    def get_next(self) -> dict[str, Any] | None:
        return next(self._rows, None)


def body_nodes(model: onnx.ModelProto) -> list[str]:
    """Convolutions with what follows each and can stay in int8: clips, additions of two such, enlargements.

    The arithmetic on boxes, landmarks and colours is no part of it: there a step of 1/255 of the range is an error.
    """
    body: list[str] = []
    inside: set[str] = set()
    for node in model.graph.node:
        fed = [name for name in node.input if name in inside]
        wanted = {"Conv": 0, "Clip": 1, "Resize": 1, "Add": 2}.get(node.op_type)
        if wanted is not None and len(fed) >= wanted:
            body.append(node.name)
            inside.update(node.output)
    return body


def quantize_graph(source: Path, target: Path, calibration: Arrays, *, chosen: Callable[[str], bool]) -> None:
    """Write an int8 graph of the layers whose names are chosen: activations uint8, weights int8 per channel."""
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "plain.onnx"
        quant_pre_process(source, plain, skip_symbolic_shape=True)  # folds the fp16 weights' casts, infers shapes
        nodes = [name for name in body_nodes(onnx.load(plain)) if chosen(name)]
        if not nodes:
            raise ValueError(f"{source} has no layer that this variant quantizes")
        quantize_static(
            plain,
            target,
            _Rows(calibration),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=nodes,
            op_types_to_quantize=["Conv", "Clip", "Add", "Resize"],
            extra_options={"WeightSymmetric": True, "ActivationSymmetric": False},
        )
    model = onnx.load(target)
    halve_initializers(model)
    used = {node.domain for node in model.graph.node}
    for opset in [o for o in model.opset_import if o.domain not in used]:  # ONNX Runtime lists all that it knows
        model.opset_import.remove(opset)
    onnx.save(model, target)


def measure(stage: str, graphs: dict[str, Path], trial: Trial, *, rounds: int) -> list[Measured]:
    """Size, speed, figures and agreement of graphs of one stage; the first is what the others are held against."""
    one = {name: np.asarray(array[:1]) for name, array in trial.inputs.items()}
    timings = compare_speed({name: (path, one) for name, path in graphs.items()}, rounds=rounds)
    outputs = {name: run_graph(path, trial.inputs) for name, path in graphs.items()}
    first = next(iter(outputs.values()))
    return [
        Measured(
            name,
            path.stat().st_size,
            timings[name].relative,
            trial.judge(outputs[name]),
            agreement(stage, first, outputs[name]),
        )
        for name, path in graphs.items()
    ]


def try_int8(
    stage: str, photographs: Photographs, *, calibration: int = 96, most: int | None = None, rounds: int = 30
) -> list[Measured]:
    """Quantize the repository's graph in every variant below build/int8/<stage>/ and measure all of them.

    The committed graph comes first. `most` bounds the photographs or garments that are judged. The last file written,
    `measured.json`, holds what is returned.
    """
    configs = stage_configs(photographs.repository, stage)
    source = configs[0].exported
    check_graph(source, configs)
    inputs = calibration_inputs(stage, photographs, count=calibration)
    graphs = {"committed": source}
    folder = photographs.build / "int8" / stage
    folder.mkdir(parents=True, exist_ok=True)
    for variant, chosen in VARIANTS.items():
        target = int8_path(photographs, stage, variant)
        quantize_graph(source, target, inputs, chosen=chosen)
        check_graph(target, configs)
        graphs[variant] = target
    measured = measure(stage, graphs, trial_of(stage, photographs, most=most), rounds=rounds)
    (folder / "measured.json").write_text(json.dumps([asdict(m) for m in measured], indent=1) + "\n")
    return measured


def int8_path(photographs: Photographs, stage: str, variant: str) -> Path:
    """Where `try_int8` writes a variant."""
    return photographs.build / "int8" / stage / f"{variant.replace(', ', '_').replace(' ', '_')}.onnx"


def best_int8(measured: list[Measured]) -> Measured | None:
    """The fastest of those that are better than the first, which is the committed one."""
    committed, *others = measured
    return min((m for m in others if m.better_than(committed)), key=lambda m: m.relative, default=None)


TABLE_HEAD = """\
| stage | graph | MB | time against committed | figures | agreement | verdict |
| --- | --- | --- | --- | --- | --- | --- |"""


def table(stage: str, measured: list[Measured]) -> str:
    """Rows of a Markdown table: stage, variant, MB, relative time, figures, agreement, verdict."""
    committed, *others = measured
    rows = [_row(stage, committed, "committed")]
    rows += [_row(stage, m, "better" if m.better_than(committed) else "not kept") for m in others]
    return "\n".join(rows)


def _row(stage: str, measured: Measured, verdict: str) -> str:
    figures = ", ".join(f"{name} {value:.3f}" for name, value in measured.figures.items())
    size = f"{measured.size / 1e6:.1f}"
    return (
        f"| {stage} | {measured.variant} | {size} | {measured.relative:.2f} | {figures} | "
        f"{measured.agreement:.3f} | {verdict} |"
    )
