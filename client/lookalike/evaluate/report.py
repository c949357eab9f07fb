"""The report: one HTML page that needs nothing beside it, with the figures and pictures of the worst queries."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from html import escape

from lookalike.evaluate.asking import Answer, Found, PhotoUnusable
from lookalike.evaluate.choosing import Chapter, chapters
from lookalike.evaluate.outcome import Evaluation, Judged, version_name
from lookalike.evaluate.report_figures import figures_table, histogram
from lookalike.evaluate.report_style import STYLE
from lookalike.evaluate.thumbnails import ProductPictures, photo_uri
from lookalike.formatting import counted, one_line

__all__ = ["SHOWN", "Report"]

# Products per row.
SHOWN = 10
LEGEND = (
    "<p class=legend><i class=good></i>relevant <i class=bad></i>judged, not relevant <i class=unjudged></i>not judged "
    "<i class=lost></i>relevant, but not among the first</p>"
)


class Report:
    """Writes the page of one evaluation.

    `known` are the judged products in full; `read` gives a photo's bytes or raises PhotoUnusable,
    `pictures` those of products. What
    comes from the file and the server is escaped, and addresses other than http(s) are not linked.
    """

    def __init__(
        self,
        evaluation: Evaluation,
        *,
        known: Mapping[str, Found],
        read: Callable[[str], Awaitable[bytes]],
        pictures: ProductPictures,
    ) -> None:
        self._evaluation = evaluation
        self._known = known
        self._read = read
        self._pictures = pictures

    async def page(self, *, source: str, left_out: Sequence[str], most: int) -> str:
        """The whole page; `source` says what was evaluated, `most` bounds the queries per chapter."""
        evaluation = self._evaluation
        verdict = evaluation.verdict()
        size = f"{counted(len(evaluation.queries), 'query', plural='queries')} on {evaluation.subjects()}"
        notes = [*evaluation.notes(), *(f"left out: {each}" for each in left_out)]
        parts = [
            "<!doctype html>",
            '<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
            f"<title>Lookalike: {escape(source)}</title><style>{STYLE}</style>",
            f"<header><h1>How well lookalikes are found</h1><p>{escape(source)} · {escape(size)}</p></header>",
            f'<p class="verdict">{escape(verdict[0].upper() + verdict[1:])}.</p>' if verdict else "",
            '<section class="summary">',
            figures_table(evaluation),
            histogram(evaluation),
            "</section>",
            f"<ul class=notes>{''.join(f'<li>{escape(note)}' for note in notes)}</ul>" if notes else "",
        ]
        for chapter in chapters(evaluation, most=most):
            parts.append(await self._chapter(chapter))
        return "\n".join(part for part in parts if part) + "\n</html>\n"

    async def _chapter(self, chapter: Chapter) -> str:
        queries = [await self._query(judged) for judged in chapter.queries]
        return f"<h2>{escape(chapter.title)}</h2>{LEGEND}{''.join(queries)}"

    async def _query(self, judged: Judged) -> str:
        query = judged.query
        uri = await self._picture(judged)
        picture = f'<img src="{uri}" alt="">' if uri else "<div class=none>no picture</div>"
        meant = f" · {query.meant}" if query.meant else ""
        rows = [await self._found(place, judged) for place in range(len(judged.answers))]
        return (
            f"<article><figure>{picture}<figcaption>{escape(one_line(query.subject + meant))}"
            f"<br>line {query.line}</figcaption></figure><div>{''.join(rows)}"
            f"<h3>should have been found, by grade</h3>{await self._wanted(judged)}</div></article>"
        )

    async def _picture(self, judged: Judged) -> str:
        """What was asked with, as a data URI; empty where it cannot be had."""
        query = judged.query
        if query.product:
            return await self._pictures.uri(self._known.get(query.product, Found(query.product)).image_id)
        try:
            content = await self._read(query.photo)
        except PhotoUnusable:
            content = b""
        return photo_uri(content, box=query.region or judged.answers[0].box)

    async def _found(self, place: int, judged: Judged) -> str:
        answer, figures = judged.answers[place], judged.figures[place]
        evaluation = self._evaluation
        title = version_name(evaluation.versions[place]) if len(evaluation.versions) > 1 else "found"
        said = f"{evaluation.headline} {figures[evaluation.headline]:.2f} · AP {figures['AP']:.2f}"
        if answer.missed:
            said += f" · no {judged.query.category or 'garment'} was seen on the photo"
            said += f", but {', '.join(answer.seen)}" if answer.seen else ""
        cards = []
        for found in answer.shown:
            grade = judged.query.grades.get(found.product)
            kind = "unjudged" if grade is None else "good" if grade >= evaluation.relevant else "bad"
            below = (f"score {found.score:.2f}", "not judged" if grade is None else f"grade {grade}")
            cards.append(await self._card(found, kind=kind, below=below))
        nothing = "" if cards else "<div class=none>nothing</div>"
        return f"<h3>{escape(title)} <small>{escape(said)}</small></h3><div class=row>{''.join(cards)}{nothing}</div>"

    async def _wanted(self, judged: Judged) -> str:
        grades = judged.query.grades
        wanted = sorted((id for id in grades if grades[id] >= self._evaluation.relevant), key=lambda id: -grades[id])
        cards = []
        for id in wanted[:SHOWN]:
            ranks = " / ".join(_rank(id, answer) for answer in judged.answers)
            found = all(id in answer.ranking[: self._evaluation.k] for answer in judged.answers)
            kind = "good" if found else "lost"
            below = (f"grade {grades[id]}", ranks)
            cards.append(await self._card(self._known.get(id, Found(id)), kind=kind, below=below))
        more = len(wanted) - SHOWN
        rest = f"<div class=none>and {more:,} more</div>" if more > 0 else ""
        return f"<div class=row>{''.join(cards)}{rest}</div>"

    async def _card(self, found: Found, *, kind: str, below: tuple[str, str]) -> str:
        uri = await self._pictures.uri(found.image_id)
        picture = f'<img src="{uri}" alt="" loading=lazy>' if uri else "<div class=blank></div>"
        title = escape(one_line(found.title) or found.product)
        if found.uri.lower().startswith(("http://", "https://")):
            title = f'<a href="{escape(found.uri)}" rel="noopener noreferrer">{title}</a>'
        said = "".join(f"<span>{escape(one_line(each))}</span>" for each in (found.product, *below))
        return f'<div class="card {kind}" title="{escape(found.product)}">{picture}<b>{title}</b>{said}</div>'


def _rank(id: str, answer: Answer) -> str:
    if id in answer.ranking:
        return f"rank {answer.ranking.index(id) + 1}"
    return f"not in {len(answer.ranking)}" if answer.ranking else "not found"
