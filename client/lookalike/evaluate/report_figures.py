"""The figures of a report: a table with intervals drawn in, and how the queries spread."""

from __future__ import annotations

from html import escape

from lookalike.evaluate.outcome import Evaluation, version_name
from lookalike.evaluate.significance import Interval

__all__ = ["figures_table", "histogram"]

BINS = 10
WIDTH, HEIGHT, FOOT = 360, 150, 34
COLORS = ("#2f6bff", "#f0a000")


def figures_table(evaluation: Evaluation) -> str:
    """Means with their intervals, one column per version, and the difference of two."""
    compared = evaluation.comparison
    heads = [version_name(version) for version in evaluation.versions] + (["difference"] if compared else [])
    lines = ["<table><tr><th>mean of the queries<th>" + "<th>".join(f"{head}<th>95 %" for head in heads)]
    for name in evaluation.means[0]:
        cells = [f"<td>{escape(name)}"]
        for place, means in enumerate(evaluation.means):
            cells.append(f"<td class=number>{means[name].mean:.3f}<td>{_bar(means[name], color=COLORS[place])}")
        if compared:
            difference = compared.differences[name]
            cells.append(f"<td class=number>{difference.mean:+.3f}<td>{_range(difference, signed=True)}")
        lines.append(f"<tr{' class=headline' if name == evaluation.headline else ''}>{''.join(cells)}")
    return "\n".join(lines) + "</table>"


def _bar(interval: Interval, *, color: str) -> str:
    """The interval as a stroke on 0..1 with a dot at the mean."""
    stroke = ""
    if interval.low is not None and interval.high is not None:
        stroke = (
            f'<rect x="{100 * interval.low:.1f}" y="2" width="{100 * (interval.high - interval.low):.1f}" height="8" '
            'opacity="0.35"/>'
        )
    return (
        f'<svg viewBox="-4 0 108 12" width="108" height="12" fill="{color}"><title>{_range(interval)}</title>'
        f'<rect x="0" y="5.5" width="100" height="1" fill="#d9dce3"/>{stroke}'
        f'<circle cx="{100 * interval.mean:.1f}" cy="6" r="3"/></svg> <small>{_range(interval)}</small>'
    )


def _range(interval: Interval, *, signed: bool = False) -> str:
    if interval.low is None or interval.high is None:
        return "one photo"
    form = "+.3f" if signed else ".3f"
    return f"{interval.low:{form}} to {interval.high:{form}}"


def histogram(evaluation: Evaluation) -> str:
    """How many queries have which figure: a mean of 0.5 may be half of them perfect, or all of them middling."""
    counts = [[0] * BINS for _ in evaluation.versions]
    for judged in evaluation.queries:
        for place, figures in enumerate(judged.figures):
            counts[place][min(int(figures[evaluation.headline] * BINS), BINS - 1)] += 1
    most = max(max(each) for each in counts)
    step = WIDTH / BINS
    wide = (step - 6) / len(counts)
    bars = []
    for place, each in enumerate(counts):
        for number, count in enumerate(each):
            high = (HEIGHT - 16) * count / most
            x, y = number * step + 3 + place * wide, HEIGHT - high
            bars.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{high:.1f}" fill="{COLORS[place]}"/>'
            )
            if count:
                bars.append(f'<text x="{x + wide / 2:.1f}" y="{y - 3:.1f}">{count}</text>')
    axis = "".join(
        f'<text x="{number * WIDTH / 5:.1f}" y="{HEIGHT + 14}">{number / 5:.1f}</text>' for number in range(6)
    )
    return (
        f'<svg class=spread viewBox="-12 -4 {WIDTH + 24} {HEIGHT + FOOT + 4}" width="{WIDTH + 24}" role="img">'
        f'{"".join(bars)}<rect x="0" y="{HEIGHT}" width="{WIDTH}" height="1" fill="#b8bdc9"/>{axis}'
        f'<text x="{WIDTH / 2}" y="{HEIGHT + 29}">queries by {escape(evaluation.headline)}</text></svg>'
    )
