"""Runs that a GPU replays as CUDA graphs: each batch size has tensors at addresses that never change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime

__all__ = ["RecordedRuns", "batch_sizes"]

_TYPES = {
    "tensor(bool)": np.bool_,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(float16)": np.float16,
    "tensor(float)": np.float32,
}

Array = Any
# ONNX Runtime brings no types.
Node = Any
Value = Any


@dataclass(frozen=True, slots=True)
class _Slot:
    """One batch size: what is filled here, where it lies on the device, and the run that joins inputs and outputs."""

    filled: dict[str, Array]
    inputs: dict[str, Value]
    outputs: dict[str, Value]
    binding: Any
    options: Any


def batch_sizes(largest: int) -> list[int]:
    """The powers of two up to the largest batch, and that one."""
    powers = [1 << exponent for exponent in range(largest.bit_length()) if 1 << exponent < largest]
    return [*powers, largest]


class RecordedRuns:
    """Takes batches of any size up to `largest`, and runs each in the next larger size that has a graph.

    The first runs of a size are recorded, so warm every size up. `device` is what ONNX Runtime calls it. Raises
    ValueError for a model without batches, or with tensors of open sizes.
    """

    def __init__(
        self, session: onnxruntime.InferenceSession, *, largest: int, device: str = "cuda", device_id: int = 0
    ) -> None:
        open_sizes = [
            node.name
            for node in (*session.get_inputs(), *session.get_outputs())
            if any(not isinstance(size, int) for size in node.shape[1:])
        ]
        if largest < 1 or open_sizes:
            what = f"{', '.join(open_sizes)} have open sizes" if open_sizes else "max_batch_size is 0"
            raise ValueError(f"CUDA graphs need tensors of fixed sizes, and {what}; leave enable_cuda_graph out")
        self._session, self._device, self._device_id = session, device, device_id
        self._sizes = batch_sizes(largest)
        self._slots: dict[int, _Slot] = {}

    def run(self, names: Sequence[str], arrays: Mapping[str, Array]) -> list[Array]:
        """As InferenceSession.run; rows that fill a batch up hold what the run before has left there."""
        rows = len(next(iter(arrays.values())))
        slot = self._slot(next(size for size in self._sizes if size >= rows))
        for name, value in slot.inputs.items():
            slot.filled[name][:rows] = arrays[name]
            value.update_inplace(slot.filled[name])
        self._session.run_with_iobinding(slot.binding, slot.options)
        # A copy, on a CPU too: the next run writes over the tensors.
        return [np.array(slot.outputs[name].numpy()[:rows]) for name in names]

    def _slot(self, batch: int) -> _Slot:
        if batch not in self._slots:
            self._slots[batch] = self._bound(batch)
        return self._slots[batch]

    def _bound(self, batch: int) -> _Slot:
        binding, options = self._session.io_binding(), onnxruntime.RunOptions()
        # Each number is a graph of its own; 0 is ONNX Runtime's.
        options.add_run_config_entry("gpu_graph_id", str(batch))
        filled = {node.name: np.zeros(_shape(node, batch), _TYPES[node.type]) for node in self._session.get_inputs()}
        inputs = {name: self._value(array.shape, array.dtype.type) for name, array in filled.items()}
        outputs = {
            node.name: self._value(_shape(node, batch), _TYPES[node.type]) for node in self._session.get_outputs()
        }
        for name, value in inputs.items():
            binding.bind_ortvalue_input(name, value)
        for name, value in outputs.items():
            binding.bind_ortvalue_output(name, value)
        return _Slot(filled, inputs, outputs, binding, options)

    def _value(self, shape: tuple[int, ...], kind: type) -> Value:
        return onnxruntime.OrtValue.ortvalue_from_shape_and_type(shape, kind, self._device, self._device_id)


def _shape(node: Node, batch: int) -> tuple[int, ...]:
    return (batch, *node.shape[1:])
