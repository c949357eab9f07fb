"""What the committed models reached and by which command, so that a worse one does not replace them unnoticed.

`export/figures.json` holds, per stage, the model file's SHA-256 and two kinds of figures. `trained` ones stand in the
history of the training that made the weights: torch, one stage alone, true boxes. `served` ones were measured by
`make accuracy` through the whole ensemble. The two are not comparable (the ensemble's crops come from the detector,
its weights are halved), so a new training is only ever held against the `trained` figures of the model in place, and
both must come from the same photographs.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["JUDGED", "FiguresError", "Record", "check_not_worse", "read_records", "record_served", "record_trained"]

JUDGED: dict[str, tuple[str, ...]] = {
    "detect": ("ap50", "ap", "ap50_accessories"),
    "keypoints": ("pck05", "pck10"),
    "segment": ("miou",),
    "embed": ("classes", "labels", "near5"),
}
"""Figures of a stage's history, higher is better; the first one decides."""

_SERVED: dict[str, tuple[str, ...]] = {
    "detect": ("detect_",),
    "keypoints": ("keypoints_",),
    "segment": ("segment_",),
    "embed": ("items_", "retrieval_", "colour_", "pattern_", "material_"),
}
"""Beginnings of the keys of build/accuracy.json that tell of a stage."""

Figures = dict[str, float]


class FiguresError(ValueError):
    """A model must not be replaced, or figures that would tell are missing; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of one model file."""

    sha256: str
    trained: Figures = field(default_factory=dict)
    trained_by: str = ""
    served: Figures = field(default_factory=dict)
    served_by: str = ""


def read_records(path: Path) -> dict[str, Record]:
    """Records by stage; none when the file does not exist."""
    if not path.exists():
        return {}
    try:
        return {stage: Record(**fields) for stage, fields in json.loads(path.read_text()).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise FiguresError(f"{path} does not hold the figures of the models: {error}") from error


def check_not_worse(stage: str, *, model: Path, history: Path, records: Path) -> None:
    """Raise FiguresError where the training of `history` reached less than the weights of `model`."""
    if not model.exists():
        return
    record = read_records(records).get(stage)
    name = JUDGED[stage][0]
    if record is None or record.sha256 != _digest(model) or name not in record.trained:
        raise FiguresError(
            f"{model} is a model of which {records} tells no {name}, so nobody knows whether the new one is better; "
            "replace it with --force"
        )
    new, old = _judged(stage, history)[name], record.trained[name]
    if new < old:
        raise FiguresError(
            f"{model} would get worse: {name} {old:.3f} ({records}) against {new:.3f} ({history}); "
            "train longer, or replace it with --force"
        )


def record_trained(stage: str, *, model: Path, history: Path, records: Path) -> None:
    """Remember what the weights now in `model` reached in training; how they serve is measured anew."""
    known = read_records(records)
    known[stage] = Record(_digest(model), _judged(stage, history), f"make train STAGE={stage}")
    _write(records, known)


def record_served(accuracy: Path, *, repository: Path, records: Path) -> None:
    """Take the figures of `make accuracy` over for the models that were measured: those now in the repository."""
    if not accuracy.exists():
        raise FiguresError(f"{accuracy} is missing; make accuracy DATA=... writes it")
    figures = json.loads(accuracy.read_text())
    known = read_records(records)
    for stage, beginnings in _SERVED.items():
        model = repository / stage / "1" / "model.onnx"
        if model.stat().st_mtime > accuracy.stat().st_mtime:
            raise FiguresError(f"{accuracy} is older than {model}; run make accuracy DATA=... first")
        digest = _digest(model)
        before = known.get(stage)
        served = {k: v for k, v in figures.items() if k.startswith(beginnings) and isinstance(v, float)}
        if before is None or before.sha256 != digest:
            before = Record(digest)
        known[stage] = Record(digest, before.trained, before.trained_by, served, "make accuracy")
    _write(records, known)


def _judged(stage: str, history: Path) -> Figures:
    """Figures of the last epoch that was judged."""
    try:
        rows: list[dict[str, Any]] = json.loads(history.read_text())
        row = next(row for row in reversed(rows) if JUDGED[stage][0] in row)
    except (OSError, ValueError, TypeError, StopIteration) as error:
        raise FiguresError(
            f"{history} holds no epoch with {JUDGED[stage][0]}, so nobody knows how good the new {stage} is; "
            "train it to the end, or replace the model with --force"
        ) from error
    return {name: round(float(row[name]), 4) for name in JUDGED[stage] if name in row}


def _digest(model: Path) -> str:
    return hashlib.sha256(model.read_bytes()).hexdigest()


def _write(path: Path, records: dict[str, Record]) -> None:
    content = {
        stage: {k: {n: round(x, 4) for n, x in v.items()} if isinstance(v, dict) else v for k, v in asdict(r).items()}
        for stage, r in records.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")
