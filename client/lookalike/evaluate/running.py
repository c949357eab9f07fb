"""An evaluation from its file to its figures: what cannot be used ends it, or is left out and counted."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path

from lookalike.catalogs.fetching import Fetcher
from lookalike.catalogs.locations import is_address
from lookalike.client import Client, SearchOptions
from lookalike.evaluate.asking import Asker, Found, Photo, PhotoAnswers, PhotoUnusable, known_products, photos_of
from lookalike.evaluate.asking_products import ProductAsker
from lookalike.evaluate.judgments import Judgments, Problem, Query
from lookalike.evaluate.metrics import is_answerable
from lookalike.evaluate.outcome import Evaluation, evaluation_of
from lookalike.formatting import counted
from lookalike.iteration import in_turn

__all__ = ["LeftOut", "Plan", "Unusable", "evaluate"]

# So many of a list are named in an error.
NAMED = 8
SKIP = "--skip-problems leaves them out"


class Unusable(ValueError):
    """The judged file cannot be evaluated as it is; the text says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked and measured.

    `versions` are one or two embedding versions, 0 being the server's choice; `ks` the numbers of first products that
    count; `relevant` the least grade of a relevant product; `depth` how many products are fetched per query; `at_once`
    how many photos are under way; `skip` whether to go on without what cannot be used; `shown` how many products per
    query a report shows. `also_viewed` asks, with products alone, for what others also viewed, mixed with looks by
    `similarity_share`.
    """

    versions: tuple[int, ...] = (0,)
    ks: tuple[int, ...] = (10,)
    relevant: int = 1
    depth: int = 100
    at_once: int = 4
    skip: bool = False
    shown: int = 0
    options: SearchOptions = field(default_factory=SearchOptions)
    also_viewed: bool = False
    similarity_share: float = 0.0


@dataclass(slots=True)
class LeftOut:
    """What the evaluation goes without: rows that do not parse, unknown products by id with their line, photos."""

    rows: Sequence[Problem] = ()
    products: Mapping[str, int] = field(default_factory=dict)
    photos: list[Problem] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.rows or self.products or self.photos)

    def sentences(self) -> list[str]:
        """One for each kind, with numbers and the first names."""
        said = []
        if self.rows:
            rows = _some([f"line {row.line}: {row.text}" for row in self.rows], separator="; ")
            verb = "does" if len(self.rows) == 1 else "do"
            said.append(f"{counted(len(self.rows), 'row')} {verb} not parse ({rows})")
        if self.products:
            names = _some([f"{id} on line {line}" for id, line in self.products.items()], separator=", ")
            said.append(f"{counted(len(self.products), 'product')} that the catalog does not have ({names})")
        if self.photos:
            photos = _some([f"line {photo.line}: {photo.text}" for photo in self.photos], separator="; ")
            said.append(f"{counted(len(self.photos), 'photo')} cannot be used ({photos})")
        return said

    def to_json(self) -> dict[str, object]:
        """As JSON."""
        return {
            "rows": [{"line": row.line, "reason": row.text} for row in self.rows],
            "products": dict(self.products),
            "photos": [{"line": photo.line, "reason": photo.text} for photo in self.photos],
        }


async def evaluate(
    client: Client,
    judgments: Judgments,
    *,
    fetcher: Fetcher,
    plan: Plan,
    on_photo: Callable[[bool], None] = lambda _: None,
) -> tuple[Evaluation, LeftOut, dict[str, Found]]:
    """Ask for every query and measure; also gives what was left out, and the judged products in full.

    `on_photo` is told of each photo whether it was of use. Raises Unusable, and LookalikeError for what no leaving out
    mends.
    """
    left_out = LeftOut(rows=judgments.problems)
    if left_out and not plan.skip:
        raise Unusable(f"{judgments.path}: {'; '.join(left_out.sentences())}. Mend the file; {SKIP}")
    by_photo = next((query for query in judgments.queries if not query.product), None)
    if plan.also_viewed and by_photo:
        raise Unusable(
            f"{judgments.path} line {by_photo.line} asks with a photo: what others also viewed is asked for with "
            "products alone, in the column query_product"
        )
    folder = judgments.path.absolute().parent
    photos = _there(photos_of(judgments.queries), folder, left_out)
    if left_out.photos and not plan.skip:
        raise Unusable(f"{judgments.path}: {'; '.join(left_out.sentences())}. Put them there; {SKIP}")
    for _ in left_out.photos:
        on_photo(False)
    known = await known_products(client, judgments.lines, at_once=4 * plan.at_once)
    left_out.products = {id: line for id, line in judgments.lines.items() if id not in known}
    if left_out.products and not plan.skip:
        catalog = client.catalog.removeprefix("catalogs/")
        [said] = LeftOut(products=left_out.products).sentences()
        said = said.replace("the catalog", f"the catalog {catalog!r}", 1)
        raise Unusable(
            f"{judgments.path} names {said}. Import what is missing, or name the right catalog with --catalog; {SKIP}"
        )
    photos = [replace(photo, queries=tuple(_only(query, known) for query in photo.queries)) for photo in photos]
    queries = [query for photo in photos for query in photo.queries]
    if not any(is_answerable(query.grades, relevant=plan.relevant) for query in queries):
        raise Unusable(
            f"{judgments.path}: none of {counted(len(queries), 'query', plural='queries')} has a product of grade "
            f"{plan.relevant} or more that the catalog has, so there is nothing to measure"
        )
    depth = max(plan.depth, *plan.ks)
    asker = Asker(
        client,
        fetcher,
        folder=folder,
        versions=plan.versions,
        depth=depth,
        shown=plan.shown,
        options=plan.options,
    )
    by_product = ProductAsker(
        client,
        versions=plan.versions,
        depth=depth,
        shown=plan.shown,
        options=plan.options,
        also_viewed=plan.also_viewed,
        similarity_share=plan.similarity_share,
    )

    async def ask(photo: Photo) -> PhotoAnswers:
        return await (by_product if photo.is_product else asker).ask(photo)

    answered = await _answers(ask, photos, plan=plan, left_out=left_out, on_photo=on_photo)
    versions = _versions(answered, plan=plan)
    try:
        evaluation = evaluation_of(answered, versions=versions, ks=plan.ks, relevant=plan.relevant)
    except ValueError as error:
        raise Unusable(f"{judgments.path}: of the photos that can be used, {error}: nothing to measure") from error
    return evaluation, left_out, known


async def _answers(
    asking: Callable[[Photo], Coroutine[None, None, PhotoAnswers]],
    photos: Sequence[Photo],
    *,
    plan: Plan,
    left_out: LeftOut,
    on_photo: Callable[[bool], None],
) -> list[PhotoAnswers]:
    async def ask(photo: Photo) -> PhotoAnswers | Problem:
        try:
            return await asking(photo)
        except PhotoUnusable as error:
            return Problem(photo.line, str(error))

    answered: list[PhotoAnswers] = []
    async with aclosing(in_turn(photos, ask, at_once=plan.at_once)) as results:
        async for result in results:
            if isinstance(result, PhotoAnswers):
                answered.append(result)
            elif plan.skip:
                left_out.photos.append(result)
            else:
                raise Unusable(f"line {result.line}: {result.text}; --skip-problems leaves it out")
            on_photo(isinstance(result, PhotoAnswers))
    return answered


def _versions(answered: Sequence[PhotoAnswers], *, plan: Plan) -> tuple[int, ...]:
    """The numbers of the versions that answered; Unusable where the server changed its mind on the way."""
    seen = {each.versions for each in answered}
    if not seen:
        return plan.versions
    if len(seen) > 1:
        numbers = ", ".join(str(number) for number in sorted({number for each in seen for number in each}))
        raise Unusable(
            f"the server answered with several embedding versions ({numbers}), so the figures would be of a mixture: "
            "name one with --embedding-version"
        )
    return seen.pop()


def _there(photos: Sequence[Photo], folder: Path, left_out: LeftOut) -> list[Photo]:
    """Without those whose file is gone, which is better known before the first search than after an hour."""
    there = []
    for photo in photos:
        if photo.is_product or is_address(photo.name) or (folder / photo.name).is_file():
            there.append(photo)
        else:
            left_out.photos.append(Problem(photo.line, f"there is no photo {folder / photo.name}"))
    return there


def _only(query: Query, known: Mapping[str, Found]) -> Query:
    return replace(query, grades={id: grade for id, grade in query.grades.items() if id in known})


def _some(names: Sequence[str], *, separator: str) -> str:
    more = len(names) - NAMED
    return separator.join(names[:NAMED]) + (f"{separator}and {more} more" if more > 0 else "")
