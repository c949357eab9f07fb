"""What an evaluation came to: figures per query, their means with intervals, and which of two versions is better."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from lookalike.evaluate.asking import Answer, PhotoAnswers
from lookalike.evaluate.asking_products import ALSO_VIEWED
from lookalike.evaluate.judgments import Query
from lookalike.evaluate.metrics import figures_of, is_answerable, mean_name
from lookalike.evaluate.significance import Interval, intervals, photos_needed, sign_flip_p
from lookalike.formatting import counted

__all__ = ["Comparison", "Evaluation", "Judged", "evaluation_of", "version_name"]

# A difference that chance makes less often than this counts as one.
SIGNIFICANT = 0.05
# Versions whose share of judged products differs by more can hardly be compared.
UNEVEN = 0.05
# Below this much of the first products is judged, the figures say little.
SPARSE = 0.5

Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Judged:
    """A query, and per version what was found and its figures."""

    query: Query
    answers: tuple[Answer, ...]
    figures: tuple[Figures, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The second version less the first, query by query.

    `p` is the sign-flip test's of the headline; `needed` about how many photos would show its difference.
    """

    differences: dict[str, Interval]
    p: float
    needed: int | None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All queries that could be measured (those with a relevant product), in the order of the file.

    `versions` are the numbers that the server gave, `means` per version a figure's mean by its name; `k` is the largest
    number of first products that was asked for; `unanswerable` counts queries without a relevant product, whose grade
    is `relevant` or more.
    """

    versions: tuple[int, ...]
    queries: tuple[Judged, ...]
    means: tuple[dict[str, Interval], ...]
    k: int
    comparison: Comparison | None
    unanswerable: int
    relevant: int

    @property
    def headline(self) -> str:
        """The figure by which versions are compared and queries are called bad."""
        return f"nDCG@{self.k}"

    @property
    def photos(self) -> int:
        """How many photos, or products that were asked with, the queries come from."""
        return len({each.query.subject for each in self.queries})

    def subjects(self, number: int | None = None) -> str:
        """So many photos, or products where it was these alone that were asked with, in words; all unless told."""
        noun = "product" if all(each.query.product for each in self.queries) else "photo"
        return counted(self.photos if number is None else number, noun)

    def verdict(self) -> str:
        """Which of the two versions is better, or that it cannot be told; empty for one version."""
        if self.comparison is None:
            return ""
        first, second = self.versions
        difference, p = self.comparison.differences[self.headline], self.comparison.p
        if not any(each.figures[0][self.headline] != each.figures[1][self.headline] for each in self.queries):
            return f"versions {first} and {second} do equally well: {self.headline} is the same for every query"
        chance = "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
        low, high = difference.low, difference.high
        if low is not None and high is not None and p < SIGNIFICANT and low * high > 0:
            better, worse = (second, first) if difference.mean > 0 else (first, second)
            near, far = sorted((abs(low), abs(high)))
            return (
                f"version {better} is better than version {worse}: its {self.headline} is {abs(difference.mean):.3f} "
                f"higher (95 % interval {near:.3f} to {far:.3f}, {chance})"
            )
        side = "higher" if difference.mean > 0 else "lower"
        doubt = "" if low is None else f" (95 % interval {low:+.3f} to {high:+.3f}, {chance})"
        needed = self.comparison.needed
        more = f"; if it is really that large, about {self.subjects(needed)} would show it" if needed else ""
        return (
            f"which is better cannot be told from {self.subjects()}: {self.headline} of version {second} "
            f"is {abs(difference.mean):.3f} {side}{doubt}{more}"
        )

    def notes(self) -> list[str]:
        """What to bear in mind when reading the figures, a sentence each."""
        notes = []
        if self.unanswerable:
            notes.append(
                f"{counted(self.unanswerable, 'query', plural='queries')} without a product of grade {self.relevant} "
                "or more: recall is not defined there, so they are left out of all figures"
            )
        for place, version in enumerate(self.versions):
            notes += self._missed(place, f" by version {version}" if len(self.versions) > 1 else "")
        several = sum(not each.query.meant and len(each.answers[0].seen) > 1 for each in self.queries)
        if several:
            notes.append(
                f"{counted(several, 'photo')} with several garments and no word of which is meant: the surest one was "
                "taken; a column category or region says it"
            )
        return notes + self._unjudged()

    def _missed(self, place: int, by: str) -> list[str]:
        missed = Counter(each.query.category for each in self.queries if each.answers[place].missed)
        if not missed:
            return []
        names = ", ".join(f"{category or 'any'} ({number})" for category, number in missed.most_common(5))
        queries = counted(missed.total(), "query", plural="queries")
        return [f"no garment of the category was found on the photo{by} in {queries}, where nothing is found: {names}"]

    def _unjudged(self) -> list[str]:
        name = f"judged@{self.k}"
        shares = [means[name].mean for means in self.means]
        if len(shares) == 2 and abs(shares[0] - shares[1]) > UNEVEN:
            low = shares.index(min(shares))
            return [
                f"version {self.versions[low]} puts more products on top that nobody judged ({name} {min(shares):.2f} "
                f"against {max(shares):.2f}): they count as not relevant, so judge them before you trust the comparison"
            ]
        if min(shares) < SPARSE:
            return [
                f"{name} is {min(shares):.2f}: most of what is found was never judged and counts as not relevant, so "
                "the figures are lower bounds"
            ]
        return []


def version_name(version: int) -> str:
    """What heads the figures of a version."""
    return "also viewed" if version == ALSO_VIEWED else f"version {version}"


def evaluation_of(
    answered: Sequence[PhotoAnswers], *, versions: Sequence[int], ks: Sequence[int], relevant: int
) -> Evaluation:
    """Figures and means. Raises ValueError when no query has a relevant product."""
    judged: list[Judged] = []
    unanswerable = 0
    for photo in answered:
        for place, query in enumerate(photo.photo.queries):
            if not is_answerable(query.grades, relevant=relevant):
                unanswerable += 1
                continue
            answers = tuple(each[place] for each in photo.answers)
            figures = tuple(figures_of(each.ranking, query.grades, ks=ks, relevant=relevant) for each in answers)
            judged.append(Judged(query, answers, figures))
    if not judged:
        raise ValueError("no query has a relevant product")
    clusters = [each.query.subject for each in judged]
    columns = {
        (place, name): [each.figures[place][name] for each in judged]
        for place in range(len(versions))
        for name in judged[0].figures[0]
    }
    headline = f"nDCG@{max(ks)}"
    found = intervals(columns, clusters=clusters)
    means = tuple(
        {mean_name(name): found[place, name] for name in judged[0].figures[0]} for place in range(len(versions))
    )
    comparison = _compared(judged, headline=headline, clusters=clusters) if len(versions) == 2 else None
    return Evaluation(tuple(versions), tuple(judged), means, max(ks), comparison, unanswerable, relevant)


def _compared(judged: Sequence[Judged], *, headline: str, clusters: Sequence[str]) -> Comparison:
    columns = {
        mean_name(name): [each.figures[1][name] - each.figures[0][name] for each in judged]
        for name in judged[0].figures[0]
    }
    return Comparison(
        intervals(columns, clusters=clusters),
        sign_flip_p(columns[headline], clusters=clusters),
        photos_needed(columns[headline], clusters=clusters),
    )
