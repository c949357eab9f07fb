"""The rendered wardrobe: same seeds, same pictures; and what it says about a picture is true."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from lookalike_service import wardrobe
from lookalike_service.wardrobe import (
    CATEGORIES,
    LABELS,
    LANDMARKS,
    MATERIALS,
    PALETTE,
    PATTERNS,
    DrawnGarment,
    Item,
    Photo,
    choose_outfit,
    colour_near,
    fabric,
    make_items,
    name_of,
    render_item,
    render_outfit,
    surface,
    write_catalog,
    write_outfits,
)

ITEMS = make_items(270, seed=5)
LANDMARKS_OF = {
    "top": (0, 1, 2, 3, 6, 7),
    "outer": (0, 1, 2, 3, 6, 7),
    "dress": (0, 1, 2, 3, 4, 5, 6, 7),
    "pants": (4, 5, 6, 7),
    "shorts": (4, 5, 6, 7),
    "skirt": (4, 5, 6, 7),
    "shoes": (),
    "bag": (),
    "hat": (),
}


def first_of(category: str, **traits: str) -> Item:
    return next(
        item
        for item in ITEMS
        if item.category == category and all(getattr(item, name) == value for name, value in traits.items())
    )


def outfit(seed: int, *, size: tuple[int, int] = (320, 480)) -> Photo:
    return render_outfit(choose_outfit(ITEMS, seed=seed), seed=seed, size=size)


def assert_consistent(garment: DrawnGarment, image: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> None:
    """Mask, box and landmarks of a garment agree with each other."""
    height, width = image.shape[:2]
    assert garment.mask.shape == (height, width)
    assert garment.mask.dtype == np.uint8
    assert set(np.unique(garment.mask)) == {0, 255}
    rows, columns = np.nonzero(garment.mask)
    x0, y0, x1, y1 = garment.box
    assert (columns.min() / width, rows.min() / height) == pytest.approx((x0, y0))
    assert ((columns.max() + 1) / width, (rows.max() + 1) / height) == pytest.approx((x1, y1))
    assert garment.landmarks.shape == (8, 3)
    assert garment.landmarks.dtype == np.float32
    far = cv2.distanceTransform(255 - garment.mask, cv2.DIST_L2, 5)
    for index, (x, y, visibility) in enumerate(garment.landmarks):
        if visibility == 2:
            assert far[min(height - 1, int(y * height)), min(width - 1, int(x * width))] <= 0.02 * height, (
                garment.item.id,
                LANDMARKS[index],
            )
        assert visibility in (0, 1, 2)
        assert visibility > 0 or (x, y) == (0, 0)


def test_public_names() -> None:
    assert set(wardrobe.__all__) <= set(dir(wardrobe))
    assert len(LANDMARKS) == 8
    assert len(PALETTE) == 16


def test_items_depend_on_the_seed_alone() -> None:
    assert make_items(60, seed=5) == ITEMS[:60]
    assert make_items(60, seed=6) != ITEMS[:60]
    assert make_items(0) == []
    with pytest.raises(ValueError, match="0 or more"):
        make_items(-1)


def test_a_collection_is_balanced_and_well_formed() -> None:
    many = make_items(2000, seed=1)
    assert len({item.id for item in many}) == 2000
    per_category = Counter(item.category for item in many)
    assert set(per_category) == set(CATEGORIES)
    assert max(per_category.values()) - min(per_category.values()) <= 1
    assert {item.label for item in many} == set(LABELS)
    assert {item.pattern for item in many} == set(PATTERNS)
    assert {item.material for item in many} == set(MATERIALS)
    for item in many:
        assert item.price > 0 and item.currency == "EUR"
        assert len(item.colours) == len(item.rgb)
        assert all(name_of(rgb) == name for name, rgb in zip(item.colours, item.rgb, strict=True))


def test_families_differ_in_exactly_one_trait() -> None:
    families: dict[str, list[Item]] = {}
    for item in ITEMS:
        families.setdefault(item.family, []).append(item)
    assert {members[0].trait for members in families.values()} == {"colour", "pattern"}
    for members in families.values():
        assert len(members) == 3
        assert len({(m.cut, m.brand, m.price, m.material, m.label, m.fabric_seed, m.trait) for m in members}) == 1
        mains, patterns = {m.colours[0] for m in members}, {m.pattern for m in members}
        assert (len(mains), len(patterns)) == ((3, 1) if members[0].trait == "colour" else (1, 3))


def test_palette_names_name_themselves() -> None:
    random = np.random.default_rng(0)
    for name, rgb in PALETTE.items():
        assert name_of(rgb) == name
        near = [colour_near(name, random) for _ in range(6)]
        assert {name_of(colour) for colour in near} == {name}
        assert len(set(near)) > 1


@pytest.mark.parametrize("pattern", PATTERNS)
def test_fabric_is_seeded_and_made_of_its_palette(pattern: str) -> None:
    palette = [PALETTE["navy"], PALETTE["white"], PALETTE["red"]]
    cloth = fabric(pattern, palette=palette, seed=3, size=(160, 224))
    assert cloth.shape == (160, 224, 3) and cloth.dtype == np.uint8
    assert np.array_equal(cloth, fabric(pattern, palette=palette, seed=3, size=(160, 224)))
    spread = float(cloth.astype(float).std(axis=(0, 1)).max())
    assert spread < 12 if pattern == "solid" else spread > 20
    low, high = np.min(palette, axis=0) - 40, np.max(palette, axis=0) + 40
    assert np.all((cloth >= low) & (cloth <= high))


def test_fabric_and_surface_refuse_the_unknown() -> None:
    with pytest.raises(ValueError, match="use one of solid"):
        fabric("plaidish", palette=[(1, 2, 3)])
    with pytest.raises(ValueError, match="use one of denim"):
        surface("wood")


def test_fabric_takes_one_colour() -> None:
    assert float(fabric("striped", palette=[(20, 20, 20)]).astype(float).std()) > 20


@pytest.mark.parametrize("material", MATERIALS)
def test_surface_keeps_the_mean_brightness(material: str) -> None:
    relief = surface(material, seed=4, size=96)
    assert relief.shape == (96, 96) and relief.dtype == np.float32
    assert float(relief.mean()) == pytest.approx(1.0, abs=0.05)
    assert float(relief.std()) > 0.002


@pytest.mark.parametrize("category", CATEGORIES)
@pytest.mark.parametrize("view", [0, 1, 2])
def test_item_photos_tell_the_truth(category: str, view: int) -> None:
    item = first_of(category)
    photo = render_item(item, view=view, size=200)
    assert photo.image.shape == (200, 200, 3) and photo.image.dtype == np.uint8
    assert np.array_equal(photo.image, render_item(item, view=view, size=200).image)
    (garment,) = photo.garments
    assert garment.item is item
    assert_consistent(garment, photo.image)
    present = tuple(int(index) for index in np.flatnonzero(garment.landmarks[:, 2]))
    assert set(present) <= set(LANDMARKS_OF[category])
    assert view > 0 or present == LANDMARKS_OF[category]
    assert 0.04 < (garment.mask > 0).mean() < 0.85


def test_views_differ() -> None:
    item = first_of("dress")
    views = [render_item(item, view=view, size=96).image.astype(float) for view in range(4)]
    for index, one in enumerate(views):
        assert all(np.abs(one - other).mean() > 4 for other in views[index + 1 :])


def test_left_is_the_wearers_left() -> None:
    (garment,) = render_item(first_of("dress"), view=0, size=160).garments
    assert np.all(garment.landmarks[0::2, 0] > garment.landmarks[1::2, 0])


@pytest.mark.parametrize("colour", ["red", "green", "blue", "yellow", "black", "white"])
def test_the_main_colour_is_in_the_mask_and_studio_is_light(colour: str) -> None:
    items = [item for item in make_items(900) if item.pattern == "solid" and item.colours[0] == colour]
    item = next(item for item in items if item.category in ("top", "dress", "skirt"))
    photo = render_item(item, view=0, size=160)
    (garment,) = photo.garments
    inside = cv2.erode(garment.mask, np.ones((5, 5), np.uint8)) > 0
    lab = cv2.cvtColor(photo.image.astype(np.float32) / np.float32(255), cv2.COLOR_RGB2LAB)
    reference = cv2.cvtColor(np.array([[PALETTE[colour]]], np.float32) / np.float32(255), cv2.COLOR_RGB2LAB)[0, 0]
    assert float(np.linalg.norm(np.median(lab[inside], axis=0) - reference)) < 20
    corners = photo.image[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert corners.min() > 200


@pytest.mark.parametrize("pattern", ["striped", "checked", "dotted", "floral"])
def test_patterned_cloth_varies_more_than_solid(pattern: str) -> None:
    def variation(item: Item) -> float:
        (photo, garment) = (lambda p: (p, p.garments[0]))(render_item(item, view=0, size=240))
        inside = cv2.erode(garment.mask, np.ones((9, 9), np.uint8)) > 0
        return float(photo.image[inside].astype(float).std(axis=0).max())

    family = next(
        members
        for item in make_items(600)
        if item.trait == "pattern" and item.category in ("top", "dress", "skirt") and item.pattern == pattern
        for members in [[other for other in make_items(600) if other.family == item.family]]
        if any(member.pattern == "solid" for member in members)
    )
    by_pattern = {member.pattern: variation(member) for member in family}
    assert by_pattern[pattern] > by_pattern["solid"] + 8


def test_rendering_refuses_impossible_requests() -> None:
    with pytest.raises(ValueError, match="at least 48"):
        render_item(ITEMS[0], view=0, size=8)
    with pytest.raises(ValueError, match="0 or more"):
        render_item(ITEMS[0], view=-1)
    with pytest.raises(ValueError, match="both are top"):
        render_outfit([first_of("top"), dataclasses.replace(first_of("top"), id="other")], seed=1)
    with pytest.raises(ValueError, match="choose a dress"):
        render_outfit([first_of("top"), first_of("dress")], seed=1)
    with pytest.raises(ValueError, match="need a dress"):
        choose_outfit([first_of("bag")], seed=1)


def test_outfits_tell_the_truth() -> None:
    seen: set[str] = set()
    for seed in range(10):
        photo = outfit(seed)
        assert photo.image.shape == (480, 320, 3)
        covered = np.zeros((480, 320), dtype=int)
        for garment in photo.garments:
            assert_consistent(garment, photo.image)
            assert set(np.flatnonzero(garment.landmarks[:, 2])) <= set(LANDMARKS_OF[garment.item.category])
            covered += garment.mask > 0
            seen.add(garment.item.category)
        assert covered.max() == 1  # a pixel shows one garment
    assert seen == set(CATEGORIES)


def test_outfits_depend_on_the_seed_alone() -> None:
    items = choose_outfit(ITEMS, seed=4)
    assert choose_outfit(ITEMS, seed=4) == items
    first, again, other = (render_outfit(items, seed=s, size=(160, 240)).image for s in (4, 4, 5))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_mask_is_what_shows_of_the_item() -> None:
    """Dyeing one garment changes pixels in its mask and, but for its edge and reflections, nowhere else."""
    top, pants = first_of("top", pattern="solid"), first_of("pants", pattern="solid")
    dyed = dataclasses.replace(pants, rgb=((250, 40, 240),), colours=("pink",))
    one = render_outfit([top, pants], seed=2, size=(320, 480))
    two = render_outfit([top, dyed], seed=2, size=(320, 480))
    mask = next(g.mask for g in one.garments if g.item is pants) > 0
    changed = np.abs(one.image.astype(int) - two.image.astype(int)).max(axis=2) > 25
    grown = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    assert changed[mask].mean() > 0.95
    assert changed[~grown].mean() < 0.001


def test_what_is_missing_is_worn_but_is_no_garment() -> None:
    photo = render_outfit([first_of("hat")], seed=3, size=(160, 240))
    assert [garment.item.category for garment in photo.garments] == ["hat"]


def test_catalog_round_trip(tmp_path: Path) -> None:
    items = ITEMS[:5]
    calls: list[tuple[int, int]] = []
    path = write_catalog(
        tmp_path / "shop", items=items, views=(0, 2), size=64, progress=lambda done, of: calls.append((done, of))
    )
    assert calls == [(done, 5) for done in range(1, 6)]
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [row["id"] for row in rows] == [item.id for item in items]
    for row, item in zip(rows, items, strict=True):
        assert row["price"] == {"minor_units": item.price, "currency": "EUR"}
        assert row["available"] is True
        assert row["category"] == item.category
        assert row["attributes"]["colour"] == item.colours[0]
        assert row["attributes"]["pattern"] == item.pattern
        assert row["images"] == [f"images/{item.id}-{view}.jpg" for view in (0, 2)]
        for view, name in zip((0, 2), row["images"], strict=True):
            stored = cv2.cvtColor(cv2.imread(str(path.parent / name)), cv2.COLOR_BGR2RGB)
            assert stored.shape == (64, 64, 3)
            drawn = [render_item(other, view=view, size=64).image for other in items]
            apart = [float(np.abs(stored.astype(float) - image).mean()) for image in drawn]
            assert items[int(np.argmin(apart))] is item
            assert min(apart) < 8


def test_written_outfits_hold_catalog_items_and_their_truth(tmp_path: Path) -> None:
    paths = write_outfits(tmp_path, items=ITEMS, count=2, seed=9)
    assert [path.name for path in paths] == ["outfit-000.jpg", "outfit-001.jpg"]
    ids = {item.id: item for item in ITEMS}
    for path in paths:
        truth = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        image = cv2.imread(str(path))
        assert image.shape[:2] == (truth["height"], truth["width"])
        assert truth["landmark_order"] == list(LANDMARKS)
        assert truth["garments"]
        for garment in truth["garments"]:
            assert garment["category"] == ids[garment["id"]].category
            x0, y0, x1, y1 = garment["box"]
            assert 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1
            assert 0 < garment["mask_share"] < (x1 - x0) * (y1 - y0) + 1e-6
            assert len(garment["landmarks"]) == 8
