"""Training of the embed stage: one photo under two views stays itself, and like goes to like."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from lookalike_export.stages.contract import CROP_SIZE, MASK_SIZE
from lookalike_export.stages.embed import SIZE, Described, Embedder
from lookalike_export.stages.vocabulary import CATEGORIES, categories_of, material_of
from lookalike_export.training.crops import mask_box
from lookalike_export.training.foreground import foreground_masks
from lookalike_export.training.looking import Looker, served_crops
from lookalike_export.training.loop import Plan, fit, make_loader, replace_average, seed_everything, start_from
from lookalike_export.training.photos import load_items, load_street, read_image, read_mask
from lookalike_export.training.rendered import rendered_items
from lookalike_export.training.views import Sample, Views
from lookalike_export.training.whitening import whitening

__all__ = ["train"]

_SETTLED = 4000  # garments whose views the projection is computed from
_LABELLED = 17  # the first entries of CATEGORIES are the home photos' own labels


def _loss(model: TrainedEmbedder, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Categories among the allowed ones, patterns and materials where known, and views of one garment alike."""
    # Faster on a processor that multiplies bfloat16.
    with torch.autocast(batch["crops"].device.type, torch.bfloat16):
        described = _seen_by(model, batch)
    described = {name: value.float() for name, value in described.items()}
    allowed = batch["allowed"].repeat_interleave(2, dim=0)
    smooth = 0.95 * allowed / allowed.sum(dim=1, keepdim=True) + 0.05 / allowed.shape[1]
    chance = described["category"].log_softmax(dim=1)
    known = allowed.sum(dim=1) == 1
    exact = -(smooth * chance).sum(dim=1)
    among = -(chance + (allowed + 1e-9).log()).logsumexp(dim=1)
    return {
        "category": torch.where(known, exact, among).mean(),
        "views": model.memory.contrast(described["look"], batch["index"].repeat_interleave(2)),
        "pattern": 0.7 * _where_known(described["pattern"], batch["pattern"].repeat_interleave(2)),
        "material": 0.3 * _where_known(described["material"], batch["material"].repeat_interleave(2)),
    }


class Memory(nn.Module):
    """Vectors of past batches, which make many more garments to be told apart than a batch holds (Wang et al., XBM,
    CVPR 2020)."""

    vectors: Tensor  # (m, d)
    owners: Tensor  # (m,), -1 where nothing is kept yet

    def __init__(self, *, size: int, width: int, temperature: float = 0.06) -> None:
        super().__init__()
        self.temperature = temperature
        self.register_buffer("vectors", torch.zeros(size, width), persistent=False)
        self.register_buffer("owners", torch.full((size,), -1), persistent=False)

    def contrast(self, vectors: Tensor, owners: Tensor) -> Tensor:
        """InfoNCE (van den Oord et al., 2018); rows 2i and 2i + 1 show one garment, `owners` (n,) say which."""
        here = vectors @ vectors.t() / self.temperature
        here = here.masked_fill(torch.eye(len(vectors), dtype=torch.bool, device=vectors.device), float("-inf"))
        past = vectors @ self.vectors.t() / self.temperature
        useless = (self.owners < 0) | (owners.unsqueeze(1) == self.owners)
        similar = torch.cat([here, past.masked_fill(useless, float("-inf"))], dim=1)
        self._keep(vectors.detach(), owners)
        return F.cross_entropy(similar, torch.arange(len(vectors), device=vectors.device) ^ 1)

    def _keep(self, vectors: Tensor, owners: Tensor) -> None:
        self.vectors = torch.cat([vectors, self.vectors])[: len(self.vectors)]
        self.owners = torch.cat([owners, self.owners])[: len(self.owners)]


def _seen_by(model: Embedder, batch: dict[str, Tensor]) -> Described:
    """Both views of every garment of a batch."""
    described: Described = model(*(batch[key].flatten(0, 1) for key in ("crops", "mask", "keypoints")))
    return described


def _where_known(logits: Tensor, label: Tensor) -> Tensor:
    if (label >= 0).sum() == 0:
        return logits.sum() * 0
    return F.cross_entropy(logits, label, ignore_index=-1)


class TrainedEmbedder(Embedder):
    """The encoder with a memory of past looks, which only training needs.

    The trunk's first stages, which see edges and colours, keep what ImageNet taught them: a few thousand garments
    teach them nothing, and half of the time goes there.
    """

    def __init__(self, *, size: int, pretrained: bool = True) -> None:
        super().__init__(size=size, pretrained=pretrained)
        self.memory = Memory(size=4096, width=self.look.out_features)
        for part in self._still():
            part.requires_grad_(False)

    def _still(self) -> list[nn.Module]:
        return [self.backbone.stem, *self.backbone.stages[:3]]

    def train(self, mode: bool = True) -> TrainedEmbedder:
        """As ever, but the first stages keep their statistics too."""
        super().train(mode)
        for part in self._still():
            part.eval()
        return self

    @torch.no_grad()
    def settle(self, loader: DataLoader[dict[str, Tensor]], *, most: int) -> None:
        """Set the standard of the look and its projection, whitening, from views of about `most` garments."""
        self.eval()
        read: list[Tensor] = []
        watch = self.standard.register_forward_hook(lambda _module, inputs, _output: read.append(inputs[0]))
        for batch in loader:
            _seen_by(self, batch)
            if 2 * most <= sum(map(len, read)):
                break
        watch.remove()
        looks = torch.cat(read)
        self.standard.running_mean, self.standard.running_var = looks.mean(dim=0), looks.var(dim=0)
        weight, bias = whitening(self.standard(looks), size=self.look.out_features)
        self.look.weight.copy_(weight)
        self.look.bias.copy_(bias)


@torch.no_grad()
def _judge(model: nn.Module, samples: list[Sample]) -> dict[str, float]:
    """Home photos in the served crop: all seventeen labels, and summed into nine classes; neighbours' agreement; the
    share that is found by another view of it."""
    vectors, chances, truth = [], [], []
    for start in range(0, len(samples), 32):
        chunk = samples[start : start + 32]
        described = model(
            served_crops(chunk),
            torch.from_numpy(np.stack([s.mask for s in chunk])).float() / 255,
            torch.from_numpy(np.stack([s.keypoints for s in chunk])),
        )
        vectors.append(described["embedding"])
        chances.append(described["category"].softmax(dim=1))
        truth += [s.allowed[0] for s in chunk]
    coarse = [name.split("/")[0] for name in CATEGORIES]
    classes = sorted(set(coarse))
    gather = torch.tensor([[float(c == k) for k in classes] for c in coarse])
    chance, labels = torch.cat(chances), torch.tensor(truth)
    top = torch.tensor([classes.index(coarse[t]) for t in truth])
    similar = torch.cat(vectors) @ torch.cat(vectors).t()
    near = similar.fill_diagonal_(-2).topk(5, dim=1).indices
    torch.manual_seed(0)
    views = [
        model(*(batch[key][:, 1] for key in ("crops", "mask", "keypoints")))["embedding"]
        for batch in make_loader(Views(samples, size=SIZE), batch=32, shuffle=False, workers=0)
    ]
    first = (torch.cat(views) @ torch.cat(vectors).t()).argmax(dim=1)
    return {
        "labels": (chance[:, :_LABELLED].argmax(dim=1) == labels).float().mean().item(),
        "classes": ((chance @ gather).argmax(dim=1) == top).float().mean().item(),
        "again": (first == torch.arange(len(first))).float().mean().item(),
        "near5": (top[near] == top[:, None]).float().mean().item(),
    }


_NO_MASK = np.zeros((MASK_SIZE, MASK_SIZE), np.uint8)
_NO_LANDMARKS = np.zeros((8, 3), np.float32)


def _item_samples(data: Path, split: str, build: Path) -> list[Sample]:
    masks = foreground_masks(
        sorted((data / "items" / split / "images").glob("*.jpg")),
        cache=build / "cache" / f"items_masks{'' if split == 'train' else '_' + split}",
    )
    samples = []
    for item in load_items(data, split, masks=masks):
        if item.mask is not None:
            box = mask_box(read_mask(item.mask))
        else:
            height, width = read_image(item.path).shape[:2]
            box = (0.0, 0.0, float(width), float(height))
        samples.append(
            Sample(item.path, box, _NO_MASK, _NO_LANDMARKS, tuple(categories_of(item.garment, item.label, exact=True)))
        )
    return samples


def _street_samples(data: Path, split: str) -> list[Sample]:
    return [
        Sample(
            p.path,
            g.box,
            _NO_MASK,
            _NO_LANDMARKS,
            tuple(categories_of(g.garment, g.fine, exact=False)),
            material=material_of(g.fine),
        )
        for p in load_street(data, split)
        for g in p.garments
        if max(g.box[2:]) >= 32 and min(g.box[2:]) >= 8
    ]


def _rendered_samples(build: Path, count: int) -> list[Sample]:
    samples = []
    for views in rendered_items(build / "cache" / "wardrobe", count=count):
        pair = [
            Sample(
                v.path,
                v.box,
                _NO_MASK,
                _NO_LANDMARKS,
                tuple(categories_of(v.garment, v.label, exact=True)),
                v.pattern,
                v.material,
            )
            for v in views
        ]
        samples += pair[:1] + pair[1:2]
    return samples


def train(arguments: argparse.Namespace) -> nn.Module:
    """Learn from home, street and rendered garments, seen through the trained segment and keypoints stages."""
    seed_everything(arguments.seed)
    looker = Looker(arguments.build, arguments.repository)
    rng = np.random.default_rng(arguments.seed)
    items = looker.look(_item_samples(arguments.data, "train", arguments.build))
    street = _street_samples(arguments.data, "train")
    worn = looker.look([street[i] for i in rng.permutation(len(street))[:3500]])
    drawn = looker.look(_rendered_samples(arguments.build, 1000))
    pairs = [replace(a, other=b) for a, b in zip(drawn[::2], drawn[1::2], strict=True)]
    judged = looker.look(_item_samples(arguments.data, "public_test", arguments.build))
    # What has learnt before must not be thrown about.
    trunk_rate, head_rate = (3e-4, 1e-3) if arguments.start is None else (2e-4, 6e-4)
    plan = Plan(
        epochs=arguments.epochs or 9, batch=32, trunk_rate=trunk_rate, head_rate=head_rate, average=0.997, decay=0.04
    )
    garments = items + worn + pairs
    loader = make_loader(Views(garments, size=SIZE), batch=plan.batch, shuffle=True)
    model = start_from(TrainedEmbedder(size=SIZE), arguments.start)
    folder = arguments.build / "train" / "embed"
    if not (folder / "last.pt").exists():
        model.settle(loader, most=1500)
    model = fit(model, loader, _loss, lambda m: _judge(m, judged), plan=plan, folder=folder, start=arguments.start)
    model.size = SIZE
    model.settle(make_loader(Views(garments, size=CROP_SIZE), batch=plan.batch, shuffle=True), most=_SETTLED)
    replace_average(model, folder / "last.pt")
    return model
