"""What was found: groups of products that show the same picture, and photos that could not be looked at."""

from __future__ import annotations

import csv
import enum
import io
import itertools
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from lookalike_service.duplicates.notebook import Notebook, Photo

__all__ = ["Group", "Link", "Report", "Trouble", "as_csv", "as_json", "grouped"]

MOST_EXAMPLES: Final = 10
COLUMNS: Final = ("catalog", "group", "kind", "product", "photo", "other_product", "other_photo", "different")


class Trouble(enum.Enum):
    """Why a photo could not be looked at."""

    GONE = "gone from the image store"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Link:
    """Two products' photos, by SHA-256, that are one picture: `identical`, `same` or `mirrored`.

    `different` is the share of the picture, 0..1, that differs: a logo, for instance.
    """

    kind: str
    product: str
    photo: str
    other_product: str
    other_photo: str
    different: float = 0.0


@dataclass(frozen=True, slots=True)
class Group:
    """Products that hang together by such links."""

    products: tuple[str, ...]
    links: tuple[Link, ...]


@dataclass(slots=True)
class Report:
    """What was found in one catalog; `looked_at` photos of its `photos` were new to this run."""

    catalog: str
    products: int = 0
    photos: int = 0
    looked_at: int = 0
    troubles: Counter[Trouble] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)

    def note(self, trouble: Trouble, photo: str, shown_by: Sequence[Photo]) -> None:
        """Count a photo that could not be looked at, and name the first few."""
        self.troubles[trouble] += 1
        if len(self.examples) < MOST_EXAMPLES:
            self.examples.append(f"{trouble.value}: {photo} of {', '.join(each.product for each in shown_by)}")

    def sentence(self) -> str:
        """The report as one line."""
        products = sum(len(group.products) for group in self.groups)
        troubles = "".join(f", {count} {trouble.value}" for trouble, count in sorted(self.troubles.items(), key=str))
        groups = f"{len(self.groups)} group{'s' if len(self.groups) != 1 else ''}"
        return (
            f"{self.catalog}: {self.products} products with {self.photos} photos, {self.looked_at} of them new"
            f"{troubles}; {products} products show a picture of another one, in {groups}"
        )

    def lines(self) -> list[str]:
        """The report as a table: groups of products, and how each hangs together."""
        lines = [self.sentence(), *(f"  {example}" for example in self.examples)]
        for number, group in enumerate(self.groups, start=1):
            lines.append(f"  group {number}: {', '.join(group.products)}")
            lines += [
                f"    {link.kind:<9} {link.product} {link.photo[:12]}  {link.other_product} {link.other_photo[:12]}"
                + (f"  {link.different:.0%} different" if link.kind != "identical" else "")
                for link in group.links
            ]
        return lines


def grouped(notebook: Notebook, *, mirrored: bool) -> list[Group]:
    """The groups of the catalog that the notebook shows, largest first."""
    links = []
    for photo in notebook.shared():
        # One after the other: a picture that stands in for thousands is no million pairs.
        for one, other in itertools.pairwise(notebook.shown_by(photo)):
            links.append(Link("identical", one.product, photo, other.product, photo))
    for pair in notebook.same(mirrored=mirrored):
        kind = "mirrored" if pair.mirrored else "same"
        one, other = _apart(notebook.shown_by(pair.one), notebook.shown_by(pair.other))
        if one.product != other.product:
            links.append(Link(kind, one.product, pair.one, other.product, pair.other, pair.different))
    root: dict[str, str] = {}
    for link in links:
        root[_root(root, link.product)] = _root(root, link.other_product)
    parts: dict[str, list[Link]] = defaultdict(list)
    for link in links:
        parts[_root(root, link.product)].append(link)
    groups = [
        Group(tuple(sorted({name for each in part for name in (each.product, each.other_product)})), tuple(part))
        for part in parts.values()
    ]
    return sorted(groups, key=lambda group: (-len(group.products), group.products))


def _apart(some: Sequence[Photo], others: Sequence[Photo]) -> tuple[Photo, Photo]:
    """Two products of the photos, different ones if there are."""
    pairs = itertools.product(some[:2], others[:2])
    return next(((one, other) for one, other in pairs if one.product != other.product), (some[0], others[0]))


def _root(root: dict[str, str], name: str) -> str:
    while (above := root.setdefault(name, name)) != name:
        root[name] = name = root[above]
    return name


def as_json(reports: Sequence[Report]) -> list[dict[str, Any]]:
    """The reports as JSON holds them."""
    return [
        {
            "catalog": report.catalog,
            "products": report.products,
            "photos": report.photos,
            "new_photos": report.looked_at,
            "troubles": {trouble.name.lower(): report.troubles[trouble] for trouble in Trouble},
            "examples": report.examples,
            "groups": [
                {
                    "products": list(group.products),
                    "links": [{name: getattr(link, name) for name in Link.__slots__} for link in group.links],
                }
                for group in report.groups
            ],
        }
        for report in reports
    ]


def as_csv(reports: Sequence[Report]) -> str:
    """One row per link, with the number of its group."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for report in reports:
        for number, group in enumerate(report.groups, start=1):
            for link in group.links:
                writer.writerow(
                    (report.catalog, number, link.kind, link.product, link.photo, link.other_product, link.other_photo,
                     f"{link.different:.3f}")
                )  # fmt: skip
    return text.getvalue()
