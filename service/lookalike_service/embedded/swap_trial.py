"""`swap_trial.py NEW OLD`: fails, with a sentence, unless the new ONNX model does what the old one's callers expect."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import onnxruntime as ort


def tensors(described: list[Any]) -> dict[str, tuple[str, list[int]]]:
    """Name to type and the sizes that are fixed; the first one is the batch."""
    return {each.name: (each.type, [size for size in each.shape[1:] if isinstance(size, int)]) for each in described}


def main(arguments: list[str]) -> int:
    """Compare names, types and shapes, and run the new model once; 1 with a sentence on standard error."""
    new, old = arguments
    options = ort.SessionOptions()
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(new, options, providers=["CPUExecutionProvider"])
        before = ort.InferenceSession(old, options, providers=["CPUExecutionProvider"])
        for wanted, found in (
            (tensors(before.get_inputs()), tensors(session.get_inputs())),
            (tensors(before.get_outputs()), tensors(session.get_outputs())),
        ):
            if wanted != found:
                print(f"its tensors are {found}, not {wanted}", file=sys.stderr)
                return 1
        (name, (_, shape)), *_ = tensors(session.get_inputs()).items()
        answers = session.run(None, {name: np.full((2, *shape), 128, np.uint8)})
    except Exception as error:
        print(f"it does not run: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    if not all(np.isfinite(answer).all() for answer in answers):
        print("it answers with numbers that are none", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
