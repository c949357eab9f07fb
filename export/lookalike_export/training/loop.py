"""The loop that every stage is trained with: one-cycle AdamW, averaged weights, checkpoints, resume, a curve."""

from __future__ import annotations

import copy
import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

__all__ = ["Plan", "fit", "load_weights", "make_loader", "seed_everything", "start_from"]

Batch = dict[str, Tensor]
Figures = dict[str, float]


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
    """Seed Python, NumPy and torch; denormal numbers, on which CPUs are slow, count as zero."""
    torch.set_flush_denormal(True)
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def _quiet_worker(_: int) -> None:
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def make_loader(dataset: Dataset[Any], *, batch: int, shuffle: bool, workers: int = 1, collate: Callable[..., Any] | None = None) -> DataLoader[Any]:
    """A loader whose workers leave the cores to the network."""
    return DataLoader(
        dataset, batch, shuffle=shuffle, num_workers=workers, drop_last=shuffle, collate_fn=collate,
        worker_init_fn=_quiet_worker, persistent_workers=workers > 0,
    )  # fmt: skip


def load_weights(model: nn.Module, path: Path) -> nn.Module:
    """Load the averaged weights of a checkpoint."""
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True)["average"])
    return model.eval()


def start_from(model: nn.Module, checkpoint: Path | None) -> nn.Module:
    """Take over the averaged weights of an earlier training that fit; None leaves the model as it is."""
    if checkpoint is not None:
        weights = torch.load(checkpoint, map_location="cpu", weights_only=True)["average"]
        missing, extra = model.load_state_dict(weights, strict=False)
        print(f"started from {checkpoint}: {len(weights) - len(extra)} tensors taken over, {len(missing)} new", flush=True)
    return model


class _Average:
    """Exponential moving average of the weights, with a short warm-up so that early epochs can be judged."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).eval()
        self.decay, self.steps = decay, 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        self.steps += 1
        decay = min(self.decay, self.steps / (self.steps + 20))
        for mine, theirs in zip(self.model.state_dict().values(), model.state_dict().values(), strict=True):
            if mine.is_floating_point():
                mine.lerp_(theirs, 1 - decay)
            else:
                mine.copy_(theirs)


def _optimizer(model: nn.Module, plan: Plan, steps: int) -> tuple[torch.optim.AdamW, torch.optim.lr_scheduler.OneCycleLR]:
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((name.startswith(plan.prefix), parameter.ndim > 1), []).append(parameter)
    settings = [{"params": p, "weight_decay": plan.decay if weight else 0.0} for (_, weight), p in groups.items()]
    rates = [plan.trunk_rate if trunk else plan.head_rate for trunk, _ in groups]
    optimizer = torch.optim.AdamW(settings, lr=plan.head_rate)
    return optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=steps, pct_start=0.15, div_factor=10)


def fit(
    model: nn.Module,
    loader: DataLoader[Any],
    loss: Callable[[nn.Module, Batch], dict[str, Tensor]],
    evaluate: Callable[[nn.Module], Figures],
    *,
    plan: Plan,
    folder: Path,
    evaluate_every: int = 1,
) -> nn.Module:
    """Train, writing `folder/last.pt`, `folder/history.json` and `folder/curve.png` after each epoch; resumes by itself.

    `loss` returns named terms that are summed. Returns the model with averaged weights.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model.to(memory_format=torch.channels_last)
    average = _Average(model, plan.average)
    optimizer, schedule = _optimizer(model, plan, plan.epochs * len(loader))
    history: list[dict[str, float]] = []
    checkpoint = folder / "last.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        model.load_state_dict(state["model"])
        average.model.load_state_dict(state["average"])
        average.steps = state["steps"]
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        history = state["history"]
    for epoch in range(len(history), plan.epochs):
        started = time.perf_counter()
        terms = _epoch(model, average, loader, loss, optimizer, schedule, plan, label=f"epoch {epoch + 1}/{plan.epochs}")
        judged = evaluate(average.model) if (epoch + 1) % evaluate_every == 0 or epoch + 1 == plan.epochs else {}
        history.append({**terms, **judged, "seconds": time.perf_counter() - started})
        print(json.dumps({"epoch": epoch + 1, **{k: round(v, 4) for k, v in history[-1].items()}}), flush=True)
        state = {
            "model": model.state_dict(), "average": average.model.state_dict(), "steps": average.steps,
            "optimizer": optimizer.state_dict(), "schedule": schedule.state_dict(), "history": history,
        }  # fmt: skip
        torch.save(state, checkpoint.with_suffix(".tmp"))
        checkpoint.with_suffix(".tmp").rename(checkpoint)
        (folder / "history.json").write_text(json.dumps(history, indent=1))
        _draw(history, folder / "curve.png")
    return average.model


def _epoch(model: nn.Module, average: _Average, loader: DataLoader[Any], loss: Callable[[nn.Module, Batch], dict[str, Tensor]],
           optimizer: torch.optim.Optimizer, schedule: Any, plan: Plan, *, label: str) -> dict[str, float]:  # fmt: skip
    model.train()
    sums: dict[str, float] = {}
    for batch in tqdm(loader, desc=label, mininterval=10, leave=False):
        terms = loss(model, batch)
        total = torch.stack(list(terms.values())).sum()
        if not torch.isfinite(total):
            raise FloatingPointError(f"the loss became {total.item()} ({ {k: v.item() for k, v in terms.items()} }); lower the rate")
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(model.parameters(), plan.clip)
        optimizer.step()
        schedule.step()
        average.update(model)
        for key, value in terms.items():
            sums[key] = sums.get(key, 0.0) + value.item() / len(loader)
    return sums


def _draw(history: list[dict[str, float]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    keys = sorted({key for row in history for key in row} - {"seconds"})
    figure, axes = pyplot.subplots(1, len(keys), figsize=(3.2 * len(keys), 2.6), squeeze=False)
    for axis, key in zip(axes[0], keys, strict=True):
        axis.plot([i + 1 for i, row in enumerate(history) if key in row], [row[key] for row in history if key in row], marker=".")
        axis.set_title(key)
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    pyplot.close(figure)
