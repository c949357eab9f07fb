"""The tables of make bench-vectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bench.figures import rows_of

__all__ = ["page"]

CATALOGS: Final = {"10^5": 1e5, "10^7": 1e7, "10^9": 1e9}
UNITS: Final = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"))


def page(content: Mapping[str, Any]) -> str:
    """What was measured, what catalogs take going by that, and where it was measured; in Markdown."""
    return "\n\n".join([_measured(content), _computed(content), _about(content)])


def _measured(content: Mapping[str, Any]) -> str:
    head = ("index", "numbers", "built by", "vectors", "bytes each", "recall@10", "of our own alone", "p50 / p99 ms")
    rows = [head]
    for each in content["kinds"]:
        alone = f"{each['recall_own']:.3f}" if "recall_own" in each else ""
        rows.append((
            each["name"],
            each["numbers"],
            each["engine"],
            f"{each['rows']:,}",
            f"{each['bytes_per_vector']:,.0f}" if each["bytes_per_vector"] else "no meter",
            f"{each['recall']:.3f}",
            alone,
            f"{each['p50_ms']:.2f} / {each['p99_ms']:.2f}",
        ))  # fmt: skip
    return rows_of(rows)


def _computed(content: Mapping[str, Any]) -> str:
    rows = [("computed: bytes each x garments", "numbers", *CATALOGS)]
    for each in content["kinds"]:
        if each["engine"] == "faiss":
            sizes = (in_words(each["bytes_per_vector"] * count) for count in CATALOGS.values())
            rows.append((each["name"], each["numbers"], *sizes))
    return rows_of(rows)


def in_words(size: float) -> str:
    """Bytes as people write them."""
    unit, name = next(((unit, name) for unit, name in UNITS if size >= unit), UNITS[-1])
    value = size / unit
    return f"{value:.0f} {name}" if value >= 10 else f"{value:.1f} {name}"


def _about(content: Mapping[str, Any]) -> str:
    run, same = content["run"], content["same_product_first"]
    machine = run["machine"]
    shares = ", ".join(f"{share:.3f} with {numbers}" for numbers, share in same.items())
    return (
        f"Rows: {content['rows_own']:,} of our own embeddings ({content['own']}, less {run['queries']} that are the "
        f"queries) and made ones beside them. The nearest other view of a rendered garment is one of the same garment "
        f"for {shares} numbers. {machine['cores']} cores of {machine['processor']}, faiss "
        f"{machine['packages']['faiss-cpu']}, commit {run['revision']}; {run['minutes']:.0f} minutes; load average "
        f"{machine['load_average'][0]:.1f} at the start."
    )
