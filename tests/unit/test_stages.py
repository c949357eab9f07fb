"""The networks' own arithmetic: landmarks of heat maps, the projection of looks, and what a vector is made of."""

from __future__ import annotations

import pytest
import torch

from lookalike_export.stages.contract import EMBEDDING_SIZE
from lookalike_export.stages.detect import suppress
from lookalike_export.stages.embed import Embedder
from lookalike_export.stages.keypoints import INPUT_SIZE, LandmarkFinder
from lookalike_export.stages.vocabulary import CATEGORIES
from lookalike_export.training.embed import Memory
from lookalike_export.training.whitening import whitening

CELLS = INPUT_SIZE // 8


def peaks(finder: LandmarkFinder, *places: tuple[float, float, float]) -> torch.Tensor:
    """A heat map (1, 1, cells * cells) with a bump of the given weight at each x, y."""
    heat = torch.zeros(1, 1, CELLS * CELLS)
    for x, y, weight in places:
        heat += weight * (-((finder.x - x) ** 2 + (finder.y - y) ** 2) / (2 * 0.03**2)).exp()
    return heat / heat.sum()


def place(finder: LandmarkFinder, heat: torch.Tensor) -> tuple[float, float]:
    """Where the finder reads a landmark from a heat map."""
    shares = finder._within_reach(heat.expand(1, 8, -1))[:, :1]
    return float((shares * finder.x).sum()), float((shares * finder.y).sum())


def test_a_landmark_lies_in_one_of_two_sleeves_and_not_between_them() -> None:
    finder = LandmarkFinder(pretrained=False)
    x, y = place(finder, peaks(finder, (0.2, 0.4, 1.0), (0.8, 0.4, 0.6)))
    assert (x, y) == pytest.approx((0.2, 0.4), abs=0.03)


def test_a_landmark_is_found_between_the_cells() -> None:
    finder = LandmarkFinder(pretrained=False)
    for wanted in [(0.41, 0.52), (0.437, 0.549), (0.45, 0.56)]:
        assert place(finder, peaks(finder, (*wanted, 1.0))) == pytest.approx(wanted, abs=0.01)


def test_whitening_hears_the_details_beside_what_is_loud() -> None:
    generator = torch.Generator().manual_seed(3)
    garments, details = 200, 30
    own = torch.randn(garments, details, generator=generator)

    def seen() -> torch.Tensor:
        light = 20 * torch.randn(garments, 2, generator=generator)
        return torch.cat([own + 0.2 * torch.randn(garments, details, generator=generator), light], dim=1)

    def found(one: torch.Tensor, other: torch.Tensor) -> float:
        one, other = (torch.nn.functional.normalize(each, dim=1) for each in (one, other))
        return float(((one @ other.t()).argmax(dim=1) == torch.arange(garments)).float().mean())

    one, other = seen(), seen()
    weight, bias = whitening(torch.cat([one, other]), size=details)
    project = torch.nn.functional.linear
    spread = torch.cov(project(torch.cat([one, other]), weight, bias).t(), correction=0)
    assert torch.allclose(spread, torch.eye(details), atol=1e-3)
    assert found(one, other) < 0.2
    assert found(project(one, weight, bias), project(other, weight, bias)) > 0.95


def test_a_vector_is_a_look_and_a_kind() -> None:
    torch.manual_seed(0)
    embedder = Embedder(pretrained=False).eval()
    crops = torch.randint(0, 256, (3, 3, 224, 224), dtype=torch.uint8)
    with torch.no_grad():
        found = embedder(crops, torch.ones(3, 56, 56), torch.rand(3, 8, 3))
    vectors = found["embedding"]
    assert vectors.shape == (3, EMBEDDING_SIZE)
    assert torch.allclose(vectors.norm(dim=1), torch.ones(3), atol=1e-5)
    look, kind = vectors.split([EMBEDDING_SIZE - len(CATEGORIES), len(CATEGORIES)], dim=1)
    assert torch.allclose(torch.nn.functional.normalize(look, dim=1), found["look"], atol=1e-5)
    shares = kind.square() / kind.square().sum(dim=1, keepdim=True)
    assert torch.allclose(shares, found["category"].softmax(dim=1), atol=1e-4)
    assert (look.norm(dim=1) > kind.norm(dim=1)).all()


def test_the_memory_never_holds_a_garment_against_itself() -> None:
    memory = Memory(size=8, width=2)
    east, north = [1.0, 0.0], [0.0, 1.0]
    pair = torch.tensor([east, east, north, north])
    memory.contrast(pair, torch.tensor([0, 0, 1, 1]))
    alike = memory.contrast(pair, torch.tensor([0, 0, 1, 1]))
    strangers = memory.contrast(pair, torch.tensor([5, 5, 6, 6]))
    assert alike < 1e-4
    assert strangers > 0.5


def test_boxes_of_other_classes_suppress_nothing_in_half_precision_either() -> None:
    boxes = torch.tensor([[[10.0, 10.0, 350.0, 350.0], [12.0, 12.0, 350.0, 350.0], [0.0, 0.0, 340.0, 346.0]]])
    scores = torch.zeros(1, 3, 14)
    scores[0, 0, 13], scores[0, 1, 13], scores[0, 2, 12] = 0.9, 0.8, 0.7
    for kind in (torch.float32, torch.float16):
        _, found, classes = suppress(scores.to(kind), boxes.to(kind), candidates=10, kept=3)
        assert found[0].tolist() == pytest.approx([0.9, 0.7, 0.0], abs=1e-3)
        assert classes[0, :2].tolist() == [13, 12]
