"""Put what the benchmarks have measured into the documentation: `make bench-docs`, or

    PYTHONPATH=tests python -m bench.document [--build build] [--docs docs]

Of make bench, make bench-index and make bench-vectors, whichever have left their figures.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from bench import compact_report, index_report
from bench.figures import TARGETS, Figure, table
from bench.ratios import Reading

__all__ = ["BEGIN", "END", "PLACES", "Place", "documented", "main"]

ROOT: Final = Path(__file__).parents[2]
BEGIN, END = "<!-- written by make bench-docs -->", "<!-- until here -->"


def documented(page: str, text: str, *, begin: str = BEGIN) -> str:
    """The page with the text between its two markers. Raises ValueError without these."""
    before, found, rest = page.partition(begin)
    _, end, after = rest.partition(END)
    if not found or not end:
        raise ValueError(f"the page lacks the lines {begin} and {END}, between which the table is to stand")
    return f"{before}{begin}\n\n{text}\n\n{END}{after}"


def pipeline(content: Mapping[str, Any]) -> str:
    """The table of make bench and where it was measured."""
    figures = {key: Figure(key, Reading(tuple(content[key]["rounds"]))) for key in TARGETS if key in content}
    return f"{table(figures)}\n\n{_about(content)}"


class Place(NamedTuple):
    """Where the figures of a file go: a page, its first marker, and how they are written there."""

    page: str
    begin: str
    written: Callable[[Mapping[str, Any]], str]


PLACES: Final = {
    "bench.json": Place("benchmarks.md", BEGIN, pipeline),
    "bench_index.json": Place("benchmarks.md", "<!-- figures of make bench-index -->", index_report.pages),
    "bench_vectors.json": Place("operations.md", "<!-- figures of make bench-vectors -->", compact_report.page),
}
"""By the file in build/ that a benchmark writes."""
PICTURES: Final = {"bench_index.json": ("index.png", "Latency against the size of the catalog")}
"""What lies as a .png beside such a file: its name in docs/pictures, and what it shows."""


def _about(content: Mapping[str, Any]) -> str:
    """One sentence for each run that figures come from; a run may have measured only some of them."""
    runs: dict[str, list[str]] = {}
    for key in TARGETS:
        if key in content:
            runs.setdefault(_sentence(content[key]["run"], len(content[key]["rounds"])), []).append(key)
    if len(runs) == 1:
        return next(iter(runs))
    return "\n".join(f"- {', '.join(f'`{key}`' for key in keys)}: {sentence}" for sentence, keys in runs.items())


def _sentence(run: Mapping[str, Any], rounds: int) -> str:
    machine, photos, load = run["machine"], run["photos"], run["machine"]["load_average"][0]
    return (
        f"{machine['cores']} cores of {machine['processor']}, Linux {machine['kernel'].partition('-')[0]}, "
        f"commit {run['revision']}; "
        f"{photos['shown']} photos of {photos['source']} with {photos['garments_per_photo']:.1f} garments each; "
        f"medians of {rounds} rounds of {run['seconds']:g} s; load average {load:.1f} at the start."
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """1, with a sentence, when there is nothing to write or no place for it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=ROOT / "build")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs")
    options = parser.parse_args(arguments)
    there = {name: place for name, place in PLACES.items() if (options.build / name).exists()}
    if not there:
        print(f"no figures in {options.build}; make bench, bench-index and bench-vectors write them", file=sys.stderr)
        return 1
    for name, place in there.items():
        page = options.docs / place.page
        try:
            text = place.written(json.loads((options.build / name).read_text()))
            text += _picture(name, build=options.build, docs=options.docs)
            page.write_text(documented(page.read_text(), text, begin=place.begin))
        except ValueError as error:
            print(f"{page}: {error}", file=sys.stderr)
            return 1
    return 0


def _picture(name: str, *, build: Path, docs: Path) -> str:
    """Put the picture that belongs to a file of figures among those of the pages, and show it."""
    source = (build / name).with_suffix(".png")
    if name not in PICTURES or not source.exists():
        return ""
    target, words = PICTURES[name]
    shutil.copyfile(source, docs / "pictures" / target)
    return f"\n\n![{words}](pictures/{target})"


if __name__ == "__main__":
    sys.exit(main())
