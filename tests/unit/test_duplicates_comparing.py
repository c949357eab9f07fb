"""The same picture is known again whatever was done to it, and no other picture is taken for it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import pytest

from lookalike_service.duplicates.comparing import compare
from lookalike_service.duplicates.fingerprints import Fingerprint, codes_in, fingerprint, packed, unpacked
from lookalike_service.errors import ImageUnreadable
from lookalike_service.model import Box
from lookalike_service.wardrobe import Item, Photo, make_items, render_item
from support_duplicates import Change, box_after, changed, some_change
from support_stack import jpeg

# Two families of each category: of three in one colour each, or of three in one pattern each.
ITEMS = make_items(54, seed=3)


@dataclass(frozen=True)
class Shot:
    """A rendered photo as it is compared."""

    item: Item
    photo: Photo
    seen: Fingerprint
    box: Box


def shot(item: Item, *, view: int = 0) -> Shot:
    photo = render_item(item, view=view, size=360)
    return Shot(item, photo, fingerprint(jpeg(photo.image)), Box(*photo.garments[0].box))


@pytest.fixture(scope="module")
def shots() -> list[Shot]:
    return [shot(item) for item in ITEMS[:36]]


def same(one: Shot, change: Change, *, mirrored: bool = False) -> bool:
    other = fingerprint(changed(one.photo.image, change))
    return compare(one.seen, other, boxes=(one.box, box_after(one.box, change)), mirrored=mirrored).same


@pytest.mark.parametrize(
    "change",
    [
        Change(),
        Change(left=0.15, top=0.2, width=0.7, height=0.75),
        Change(scale=0.4),
        Change(scale=2.0),
        Change(quality=30),
        Change(logo=Box(0.6, 0.7, 0.95, 0.95)),
        Change(logo=Box(0.6, 0.7, 0.95, 0.95), opacity=0.5),
        Change(lighter=1.12, offset=6),
        Change(lighter=0.88, offset=-6),
        Change(0.1, 0.0, 0.85, 0.9, scale=0.5, quality=50, logo=Box(0.05, 0.05, 0.3, 0.3), lighter=0.95),
    ],
    ids=lambda change: "-".join(name for name in Change.__slots__ if getattr(change, name) != getattr(Change(), name)),
)
def test_each_change_is_seen_through(shots: list[Shot], change: Change) -> None:
    known = [same(each, change) for each in shots[:9]]
    assert sum(known) >= 8, [each.item.id for each, right in zip(shots, known, strict=False) if not right]


def test_all_changes_at_once_are_seen_through(shots: list[Shot]) -> None:
    known = [same(each, some_change(seed)) for seed, each in enumerate(shots)]
    assert np.mean(known) >= 0.9


def test_another_colour_or_pattern_of_one_cut_is_another_picture(shots: list[Shot]) -> None:
    families: dict[str, list[Shot]] = defaultdict(list)
    for each in shots:
        families[each.item.family].append(each)
    pairs = [(one, other) for members in families.values() for one in members for other in members if one is not other]
    assert len(pairs) >= 36
    wrong = [(a.item.id, b.item.id) for a, b in pairs if compare(a.seen, b.seen, boxes=(a.box, b.box)).same]
    # Beige and white boots in another light are beyond it.
    assert len(wrong) <= len(pairs) * 0.05, wrong


def test_other_garments_and_other_photos_are_other_pictures(shots: list[Shot]) -> None:
    for number, one in enumerate(shots):
        other = shots[(number + 1) % len(shots)]
        assert not compare(one.seen, other.seen, boxes=(one.box, other.box)).same, (one.item.id, other.item.id)
    for one in shots[:3]:
        again = shot(one.item, view=2)
        assert not compare(one.seen, again.seen, boxes=(one.box, again.box)).same, one.item.id


def test_a_mirror_image_counts_only_when_asked_for(shots: list[Shot]) -> None:
    # A pair of shoes has no symmetry of its own.
    one = next(each for each in shots if each.item.category == "shoes")
    change = Change(width=0.9, quality=60, mirrored=True)
    assert not same(one, change)
    assert same(one, change, mirrored=True)
    assert not same(one, Change(), mirrored=True)


def test_a_fingerprint_survives_being_kept(shots: list[Shot]) -> None:
    content = packed(shots[0].seen)
    kept = unpacked(content)
    assert len(content) < 16_000
    assert np.array_equal(kept.codes, shots[0].seen.codes)
    assert np.array_equal(codes_in(content), kept.codes)
    assert np.abs(kept.points - shots[0].seen.points).max() < 0.01
    assert kept.miniature.shape == shots[0].seen.miniature.shape == (128, 128, 3)
    assert compare(kept, shots[0].seen).different < 0.01


def test_a_large_photo_is_looked_at_in_less_detail(shots: list[Shot]) -> None:
    noise = np.random.default_rng(0).integers(-30, 30, (1800, 1800, 3))
    large = np.clip(np.kron(shots[0].photo.image, np.ones((5, 5, 1))) + noise, 0, 255).astype(np.uint8)
    content = jpeg(large)
    assert len(content) > 1_000_000
    assert compare(shots[0].seen, fingerprint(content)).same


def test_a_plain_photo_has_no_key_points_and_equals_nothing() -> None:
    plain = fingerprint(jpeg(np.full((300, 200, 3), 200, np.uint8)))
    assert plain.points.shape == (0, 2)
    assert plain.codes.shape == (0, 48)
    assert plain.mirrored().codes.shape == (0, 48)
    assert not compare(plain, plain).same


@pytest.mark.parametrize("content", [b"", b"no image", b"\xff\xd8\xff\xe0" + bytes(40), bytes(200_000)])
def test_what_is_no_image_is_refused(content: bytes) -> None:
    with pytest.raises(ImageUnreadable, match="these bytes are no image"):
        fingerprint(content)
