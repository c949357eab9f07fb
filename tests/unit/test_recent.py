"""What is remembered of photos: by everything that decides the answer, as many as fit, none where nothing may be."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fakes import FakeFinder, photo
from lookalike_service.model import Box, Found
from lookalike_service.queries import PhotoQuery, Region
from lookalike_service.recent import RecentPhotos

PHOTO = PhotoQuery(image=photo({"look": "linen"}))


async def seen(query: PhotoQuery = PHOTO) -> Found:
    return await FakeFinder().find(query.image)


async def test_the_same_photo_is_remembered() -> None:
    recent, found = RecentPhotos(1), await seen()
    recent.put(recent.key(PHOTO, embedding_version=1), found)
    assert recent.get(recent.key(replace(PHOTO, image=bytes(PHOTO.image)), embedding_version=1)) is found


@pytest.mark.parametrize(
    "other",
    [
        replace(PHOTO, image=photo({"look": "wool"})),
        replace(PHOTO, max_garments=1),
        replace(PHOTO, min_garment_score=0.5),
        replace(PHOTO, regions=(Region(Box(0, 0, 0.5, 1)),)),
        replace(PHOTO, regions=(Region(Box(0, 0, 1, 0.5)),)),
    ],
)
def test_whatever_decides_the_answer_is_part_of_the_key(other: PhotoQuery) -> None:
    recent = RecentPhotos(1)
    assert recent.key(other, embedding_version=1) != recent.key(PHOTO, embedding_version=1)


def test_vectors_of_another_version_are_another_answer() -> None:
    assert (recent := RecentPhotos(1)).key(PHOTO, embedding_version=1) != recent.key(PHOTO, embedding_version=2)


def test_names_of_regions_decide_nothing() -> None:
    recent, box = RecentPhotos(1), Box(0, 0, 0.5, 1)
    one, other = (replace(PHOTO, regions=(Region(box, name),)) for name in ("a", "b"))
    assert recent.key(one, embedding_version=1) == recent.key(other, embedding_version=1)


async def test_the_least_recently_asked_for_go_first() -> None:
    recent, found = RecentPhotos(0.03), await seen()  # room for three of one garment
    keys = [recent.key(replace(PHOTO, image=bytes([number])), embedding_version=1) for number in range(4)]
    for key in keys[:3]:
        recent.put(key, found)
    assert recent.get(keys[0]) is found
    recent.put(keys[3], found)
    assert [recent.get(key) is found for key in keys] == [True, False, True, True]


async def test_with_no_room_nothing_is_kept() -> None:
    recent = RecentPhotos(0)
    recent.put(recent.key(PHOTO, embedding_version=1), await seen())
    assert recent.get(recent.key(PHOTO, embedding_version=1)) is None
