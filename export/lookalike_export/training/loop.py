"""The loop that every stage is trained with: one-cycle AdamW, averaged weights, checkpoints, resume, a curve."""

from __future__ import annotations

import copy
import json
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Generic, TypeVar

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from lookalike_export.graph_weights import load_graph, renew_statistics

__all__ = ["Plan", "device", "fit", "load_weights", "make_loader", "replace_average", "seed_everything", "start_from"]

M = TypeVar("M", bound=nn.Module)
B = TypeVar("B")
Figures = dict[str, float]
_RENEWING = 20  # batches; statistics of some hundred pictures hardly move any more


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how fast a stage learns. `prefix` names the pretrained part, which learns slower."""

    epochs: int
    batch: int
    trunk_rate: float
    head_rate: float
    prefix: str = "backbone."
    decay: float = 0.02
    average: float = 0.995
    clip: float = 10.0


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def device() -> torch.device:
    """The GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _quiet_worker(_: int) -> None:
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def make_loader(
    dataset: Dataset[Any],
    *,
    batch: int,
    shuffle: bool,
    workers: int | None = None,
    collate: Callable[..., Any] | None = None,
) -> DataLoader[Any]:
    """A loader whose workers leave the cores to the network; a GPU that computes elsewhere leaves them all."""
    if workers is None:
        workers = max(1, (os.cpu_count() or 2) - 1) if device().type == "cuda" else 1
    return DataLoader(
        dataset,
        batch,
        shuffle=shuffle,
        num_workers=workers,
        drop_last=shuffle,
        collate_fn=collate,
        worker_init_fn=_quiet_worker,
        persistent_workers=workers > 0,
    )


def load_weights(model: M, path: Path) -> M:
    """Load the averaged weights of a checkpoint."""
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True)["average"])
    return model.eval()


def start_from(model: M, checkpoint: Path | None) -> M:
    """Take over the averaged weights of an earlier training, or those of an exported graph (`.onnx`), that fit.

    None leaves the model as it is.
    """
    if checkpoint is not None and checkpoint.suffix == ".onnx":
        print(f"started from the graph {checkpoint}", flush=True)
        return load_graph(model, checkpoint)
    if checkpoint is not None:
        weights = torch.load(checkpoint, map_location="cpu", weights_only=True)["average"]
        missing, extra = model.load_state_dict(weights, strict=False)
        print(
            f"started from {checkpoint}: {len(weights) - len(extra)} tensors taken over, {len(missing)} new", flush=True
        )
    return model


def replace_average(model: nn.Module, checkpoint: Path) -> None:
    """Put the weights of `model` in the place of the averaged ones, which the export takes."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    state["average"] = model.state_dict()
    torch.save(state, checkpoint.with_suffix(".tmp"))
    checkpoint.with_suffix(".tmp").rename(checkpoint)


class _Average(Generic[M]):
    """Exponential moving average of the weights, with a short warm-up so that early epochs can be judged."""

    def __init__(self, model: M, decay: float) -> None:
        self.model = copy.deepcopy(model).eval()
        self.decay, self.steps = decay, 0

    @torch.no_grad()
    def update(self, model: M) -> None:
        self.steps += 1
        decay = min(self.decay, self.steps / (self.steps + 20))
        for mine, theirs in zip(self.model.state_dict().values(), model.state_dict().values(), strict=True):
            if mine.is_floating_point():
                mine.lerp_(theirs, 1 - decay)
            else:
                mine.copy_(theirs)


def _optimizer(
    model: nn.Module, plan: Plan, steps: int
) -> tuple[torch.optim.AdamW, torch.optim.lr_scheduler.OneCycleLR]:
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((name.startswith(plan.prefix), parameter.ndim > 1), []).append(parameter)
    settings = [{"params": p, "weight_decay": plan.decay if weight else 0.0} for (_, weight), p in groups.items()]
    rates = [plan.trunk_rate if trunk else plan.head_rate for trunk, _ in groups]
    optimizer = torch.optim.AdamW(settings, lr=plan.head_rate)
    return optimizer, torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rates, total_steps=steps, pct_start=0.15, div_factor=10
    )


class _Run(Generic[M]):
    """Everything of a training that its checkpoint keeps."""

    def __init__(self, model: M, plan: Plan, *, steps: int, folder: Path) -> None:
        self.model = model
        self.average = _Average(model, plan.average)
        self.optimizer, self.schedule = _optimizer(model, plan, steps)
        self.clip, self.folder = plan.clip, folder
        self.history: list[Figures] = []

    def resume(self) -> None:
        """Continue where `last.pt` stopped, if there is one."""
        checkpoint = self.folder / "last.pt"
        if checkpoint.exists():
            state = torch.load(checkpoint, map_location=device(), weights_only=True)
            self.model.load_state_dict(state["model"])
            self.average.model.load_state_dict(state["average"])
            self.average.steps = state["steps"]
            self.optimizer.load_state_dict(state["optimizer"])
            self.schedule.load_state_dict(state["schedule"])
            self.history = state["history"]

    def keep(self) -> None:
        """Write `last.pt`, `history.json` and `curve.png`."""
        state = {
            "model": self.model.state_dict(),
            "average": self.average.model.state_dict(),
            "steps": self.average.steps,
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "history": self.history,
        }
        checkpoint = self.folder / "last.pt"
        torch.save(state, checkpoint.with_suffix(".tmp"))
        checkpoint.with_suffix(".tmp").rename(checkpoint)
        (self.folder / "history.json").write_text(json.dumps(self.history, indent=1))
        _draw(self.history, self.folder / "curve.png")

    def step(self, total: Tensor) -> None:
        """One step down the gradient of `total`."""
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        self.optimizer.step()
        self.schedule.step()
        self.average.update(self.model)


def fit(
    model: M,
    loader: DataLoader[B],
    loss: Callable[[M, B], dict[str, Tensor]],
    evaluate: Callable[[M], Figures],
    *,
    plan: Plan,
    folder: Path,
    evaluate_every: int = 1,
    start: Path | None = None,
) -> M:
    """Train, writing `last.pt`, `history.json` and `curve.png` into `folder` after each epoch; resumes by itself.

    `loss` returns named terms that are summed. `start` is what `start_from` filled the model with. Returns the model
    with averaged weights.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if start is not None and start.suffix == ".onnx" and not (folder / "last.pt").exists():
        renew_statistics(model, lambda batch: loss(model, batch), islice(loader, _RENEWING))
    model.to(device(), memory_format=torch.channels_last)  # type: ignore[call-overload]
    run = _Run(model, plan, steps=plan.epochs * len(loader), folder=folder)
    run.resume()
    for epoch in range(len(run.history), plan.epochs):
        started = time.perf_counter()
        terms = _epoch(run, loader, loss, label=f"epoch {epoch + 1}/{plan.epochs}")
        judge = (epoch + 1) % evaluate_every == 0 or epoch + 1 == plan.epochs
        judged = evaluate(copy.deepcopy(run.average.model).cpu()) if judge else {}
        run.history.append({**terms, **judged, "seconds": time.perf_counter() - started})
        print(json.dumps({"epoch": epoch + 1, **{k: round(v, 4) for k, v in run.history[-1].items()}}), flush=True)
        run.keep()
    return run.average.model.cpu()


def _epoch(
    run: _Run[M], loader: DataLoader[B], loss: Callable[[M, B], dict[str, Tensor]], *, label: str
) -> dict[str, float]:
    run.model.train()
    sums: dict[str, float] = {}
    for batch in tqdm(loader, desc=label, mininterval=10, leave=False):
        terms = loss(run.model, _moved(batch))
        total = torch.stack(list(terms.values())).sum()
        if not torch.isfinite(total):
            raise FloatingPointError(
                f"the loss became {total.item()} ({ {k: v.item() for k, v in terms.items()} }); lower the rate"
            )
        run.step(total)
        for key, value in terms.items():
            sums[key] = sums.get(key, 0.0) + value.item() / len(loader)
    return sums


def _moved(batch: Any) -> Any:  # noqa: ANN401 - whatever a loader collates
    """The batch on the device of the model."""
    if isinstance(batch, torch.Tensor):
        return batch.to(device(), non_blocking=True)
    if isinstance(batch, dict):
        return {key: _moved(value) for key, value in batch.items()}
    if isinstance(batch, (list, tuple)):
        return type(batch)(_moved(value) for value in batch)
    return batch


def _draw(history: list[dict[str, float]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    keys = sorted({key for row in history for key in row} - {"seconds"})
    figure, axes = pyplot.subplots(1, len(keys), figsize=(3.2 * len(keys), 2.6), squeeze=False)
    for axis, key in zip(axes[0], keys, strict=True):
        axis.plot(
            [i + 1 for i, row in enumerate(history) if key in row],
            [row[key] for row in history if key in row],
            marker=".",
        )
        axis.set_title(key)
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    pyplot.close(figure)
