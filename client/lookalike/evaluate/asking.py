"""What a server finds for judged queries: a photo is sent once per embedding version, however many queries it has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from lookalike.catalogs.fetching import Fetcher, Unfetchable
from lookalike.catalogs.locations import LocationInvalid, resolve
from lookalike.client import Client, SearchOptions
from lookalike.errors import ImageTooLarge, ImageUnreadable, MessageTooLarge, ProductNotFound
from lookalike.evaluate.judgments import Query, Region
from lookalike.formatting import product_id
from lookalike.iteration import in_turn
from lookalike.v1.garment_pb2 import GARMENT_SOURCE_WHOLE_IMAGE, Garment
from lookalike.v1.product_pb2 import PRODUCT_VIEW_BASIC, Product
from lookalike.v1.search_service_pb2 import GarmentHits, SearchProductsResponse

__all__ = [
    "Answer",
    "Asker",
    "Found",
    "Photo",
    "PhotoAnswers",
    "PhotoUnusable",
    "found_of",
    "known_products",
    "photos_of",
    "read_photo",
]

# The contract's bounds.
MOST_REGIONS, MOST_PER_PAGE = 16, 100


class PhotoUnusable(Exception):
    """The photo cannot be read, or the server takes it for none; the text says why and names it."""


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo, as the file names it, with its queries; or a product by its id, which is asked with in its place."""

    name: str
    queries: tuple[Query, ...]

    @property
    def is_product(self) -> bool:
        """Whether it is a product."""
        return bool(self.queries[0].product)

    @property
    def line(self) -> int:
        """The first line that names it."""
        return self.queries[0].line


@dataclass(frozen=True, slots=True)
class Found:
    """A product as a report shows it; `score` is 0 where it was not found but looked up."""

    product: str
    title: str = ""
    uri: str = ""
    image_id: str = ""
    score: float = 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What one version found for one query: ids, best first, and the first few in full.

    `box` is where the garment was taken to be, None for the whole photo and where it was not found (`missed`: the photo
    shows no garment of the category). `seen` are the categories of the garments to choose from, empty for a region.
    """

    ranking: tuple[str, ...]
    shown: tuple[Found, ...] = ()
    box: Region | None = None
    seen: tuple[str, ...] = ()
    missed: bool = False


@dataclass(frozen=True, slots=True)
class PhotoAnswers:
    """Per version that was asked for, its number as the server says it, and an answer per query of the photo."""

    photo: Photo
    versions: tuple[int, ...]
    answers: tuple[tuple[Answer, ...], ...]


def photos_of(queries: Iterable[Query]) -> list[Photo]:
    """The queries by their photo or product, in the order in which these first come."""
    by_name: dict[tuple[str, str], list[Query]] = {}
    for query in queries:
        by_name.setdefault((query.photo, query.product), []).append(query)
    return [Photo(each[0].subject, tuple(each)) for each in by_name.values()]


async def known_products(client: Client, ids: Iterable[str], *, at_once: int) -> dict[str, Found]:
    """Those of the products that the client's catalog has, by id. Raises LookalikeError."""

    async def look_up(id: str) -> tuple[str, Found | None]:
        try:
            return id, found_of(await client.get_product(id))
        except ProductNotFound:
            return id, None

    async with aclosing(in_turn(ids, look_up, at_once=at_once)) as found:
        return {id: product async for id, product in found if product is not None}


async def read_photo(name: str, *, folder: Path, fetcher: Fetcher) -> bytes:
    """The bytes of a photo, which the file in `folder` names so. Raises PhotoUnusable."""
    try:
        return await fetcher.read_image(resolve(name, base=folder))
    except (Unfetchable, LocationInvalid) as error:
        raise PhotoUnusable(f"the photo {name} cannot be read ({error})") from error


class Asker:
    """Searches with photos.

    `versions` are the embedding versions to ask, 0 being the server's choice; `depth` how many products to fetch per
    query; `shown` how many of them to keep in full; `folder` what relative photos are relative to.
    """

    def __init__(
        self,
        client: Client,
        fetcher: Fetcher,
        *,
        folder: Path,
        versions: Sequence[int],
        depth: int,
        shown: int = 0,
        options: SearchOptions | None = None,
    ) -> None:
        self._client = client
        self._fetcher = fetcher
        self._folder = folder
        self._versions = tuple(versions)
        self._depth = depth
        self._shown = shown
        self._options: SearchOptions = {
            **(options or {}),
            "page_size": min(depth, MOST_PER_PAGE),
            "product_view": PRODUCT_VIEW_BASIC,
        }

    async def ask(self, photo: Photo) -> PhotoAnswers:
        """One after another what each version finds. Raises PhotoUnusable and LookalikeError."""
        content = await read_photo(photo.name, folder=self._folder, fetcher=self._fetcher)
        versions, answers = [], []
        for version in self._versions:
            try:
                said, found = await self._ask(photo, content, version=version)
            except (ImageUnreadable, ImageTooLarge, MessageTooLarge) as error:
                raise PhotoUnusable(f"the server does not take the photo {photo.name} ({error.message})") from error
            versions.append(said)
            answers.append(tuple(found[query] for query in range(len(photo.queries))))
        return PhotoAnswers(photo, tuple(versions), tuple(answers))

    async def _ask(self, photo: Photo, content: bytes, *, version: int) -> tuple[int, dict[int, Answer]]:
        """The version that answered, and the answers by their query's place."""
        options: SearchOptions = {**self._options, "embedding_version": version}
        regions = [(place, query.region) for place, query in enumerate(photo.queries) if query.region]
        others = [place for place, query in enumerate(photo.queries) if not query.region]
        answers: dict[int, Answer] = {}
        answer = SearchProductsResponse()
        for begin in range(0, len(regions), MOST_REGIONS):
            some = regions[begin : begin + MOST_REGIONS]
            answer = await self._client.search(content, regions=[region for _, region in some], **options)
            for (place, region), result in zip(some, answer.results, strict=True):
                answers[place] = await self._answer(result, options=options, box=region)
        if others:
            answer = await self._client.search(content, **options)
            for place in others:
                seen = tuple(each.garment.category for each in answer.results)
                meant = _meant(answer.results, photo.queries[place].category)
                if meant is None:
                    answers[place] = Answer((), seen=seen, missed=True)
                else:
                    box = _box(meant.garment)
                    answers[place] = await self._answer(meant, options=options, box=box, seen=seen)
        return answer.embedding_version, answers

    async def _answer(
        self, result: GarmentHits, *, options: SearchOptions, box: Region | None, seen: tuple[str, ...] = ()
    ) -> Answer:
        """With as many pages as it takes: a server may give fewer at once than were asked for."""
        hits = list(result.hits)
        while len(hits) < self._depth and result.next_page_token:
            result = await self._client.next_page(result, **options)
            hits += result.hits
        del hits[self._depth :]
        shown = (found_of(hit.product, image_id=hit.image_id, score=hit.score) for hit in hits[: self._shown])
        return Answer(tuple(product_id(hit.product.name) for hit in hits), tuple(shown), box, seen)


def _meant(results: Sequence[GarmentHits], category: str) -> GarmentHits | None:
    """The surest garment of the category, one that is called so in full first; without a category the surest of all."""
    if not category:
        return results[0] if results else None
    coarse = [each for each in results if each.garment.category == category.split("/")[0]]
    exact = [each for each in coarse if [label.name for label in each.garment.categories[:1]] == [category]]
    return next(iter([*exact, *coarse]), None)


def _box(garment: Garment) -> Region | None:
    if garment.source == GARMENT_SOURCE_WHOLE_IMAGE:
        return None
    return garment.box.x0, garment.box.y0, garment.box.x1, garment.box.y1


def found_of(product: Product, *, image_id: str = "", score: float = 0.0) -> Found:
    """The product as a report shows it."""
    image_id = image_id or next((image.id for image in product.images), "")
    return Found(product_id(product.name), product.title, product.uri, image_id, score)
