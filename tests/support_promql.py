"""Expressions of Prometheus: what they name, and whether that exists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import grpc
import promql_parser as promql
import yaml
from google.protobuf.descriptor import FileDescriptor

from lookalike.v1 import product_service_pb2, search_service_pb2
from lookalike_service.errors import LookalikeError
from support_metrics import FIXED, Series

__all__ = ["CONFIG", "check", "kept_labels", "parsed"]

ROOT: Final = Path(__file__).parents[1]
CONFIG: Final = ROOT / "deploy/prometheus/prometheus.yml"
# What Prometheus adds to everything that it scrapes.
SCRAPED: Final = {"job", "instance"}
SOURCE: Final = "\n".join(path.read_text() for path in (ROOT / "service/lookalike_service").rglob("*.py"))


def parsed(expression: str) -> Any:  # noqa: ANN401 - any kind of node
    """As Prometheus would read it; Grafana puts a time in the place of its variable."""
    return promql.parse(expression.replace("$__rate_interval", "5m"))


def parts(node: Any) -> Iterator[Any]:  # noqa: ANN401
    """The node and all below it."""
    yield node
    for name in ("expr", "lhs", "rhs", "vector_selector", "param"):
        if (below := getattr(node, name, None)) is not None:
            yield from parts(below)
    for argument in getattr(node, "args", []):
        yield from parts(argument)


def selectors(node: Any) -> list[Any]:  # noqa: ANN401
    return [part for part in parts(node) if isinstance(part, promql.VectorSelector)]


def kept_labels(node: Any) -> list[set[str]]:  # noqa: ANN401
    """The label sets that the aggregations of an expression keep, each once."""
    kept = {frozenset(getattr(part.modifier, "labels", [])) for part in parts(node) if is_aggregate(part)}
    return [set(labels) for labels in kept]


def is_aggregate(node: Any) -> bool:  # noqa: ANN401
    return isinstance(node, promql.AggregateExpr)


def made_labels(node: Any) -> set[str]:  # noqa: ANN401
    """Labels that label_replace writes."""
    calls = [part for part in parts(node) if isinstance(part, promql.Call) and part.func.name == "label_replace"]
    return {str(call.args[1].val) for call in calls}


def check(expression: str, known: Series) -> set[str]:
    """See that an expression names what exists; returns the labels that its result can have."""
    tree = parsed(expression)
    for selector in selectors(tree):
        assert selector.name in known, f"there is no metric {selector.name}"
        for matcher in selector.matchers.matchers:
            labels = known[selector.name]
            assert matcher.name in labels.keys() | SCRAPED, f"{selector.name} has no label {matcher.name}"
            for word in words_of(matcher):
                exists(word, label=matcher.name, among=labels.get(matcher.name, []))
    for part in parts(tree):
        if is_aggregate(part) and part.modifier is not None:
            for selector in selectors(part):
                there = known[selector.name].keys() | SCRAPED | made_labels(part)
                assert set(part.modifier.labels) <= there, f"{selector.name} cannot be summed by that: {part}"
    aggregates = kept_labels(tree)
    plain = {label for selector in selectors(tree) for label in known[selector.name].keys() | SCRAPED}
    return set().union(*aggregates) if aggregates else plain


def words_of(matcher: Any) -> list[str]:  # noqa: ANN401
    """What a label is compared with: a word, or the words of an alternation; patterns of other kinds are left out."""
    value = str(matcher.value)
    if "~" not in str(matcher.op) and matcher.op not in (promql.MatchOp.Re, promql.MatchOp.NotRe):
        return [value]
    words = value.split("|")
    return words if all(re.fullmatch(r"\w+", word) for word in words) else []


def exists(word: str, *, label: str, among: list[str]) -> None:
    """A word that a label is compared with is one that somebody writes there."""
    if label in FIXED and among:
        assert word in among
    elif label == "method":
        assert word in methods()
    elif label in ("reason", "code"):
        assert word in {code.name for code in grpc.StatusCode} | reasons(LookalikeError)
    elif label == "job":
        assert word in {job["job_name"] for job in yaml.safe_load(CONFIG.read_text())["scrape_configs"]}
    elif label not in ("alertstate", "severity"):
        assert f'"{word}"' in SOURCE, f"the gateway never writes {label}={word}"


def methods() -> set[str]:
    files: list[FileDescriptor] = [search_service_pb2.DESCRIPTOR, product_service_pb2.DESCRIPTOR]
    services = [service for file in files for service in file.services_by_name.values()]
    return {f"{service.full_name}/{method.name}" for service in services for method in service.methods}


def reasons(kind: type[LookalikeError]) -> set[str]:
    return {kind.reason}.union(*(reasons(each) for each in kind.__subclasses__()))
