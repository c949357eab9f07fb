"""Alerts, dashboard and runbooks: they name metrics that exist, and each alert has its page."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from lookalike_service import metrics
from lookalike_service.metrics import REGISTRY
from support_gateway import Shop, open_shop, product
from support_metrics import FOLDER, Series
from support_promql import CONFIG, check, kept_labels, parsed

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy/prometheus/rules.yml"
RULES_TEST = Path(__file__).parent / "data/rules_test.yml"
RUNBOOKS = ROOT / "docs/runbooks"
OPERATIONS = ROOT / "docs/operations.md"
SECTIONS = ["What it means", "What shoppers notice", "How to look", "Causes", "What to do", "When it is over"]
# What Prometheus makes itself.
MADE: Series = {"up": {}, "ALERTS": {"alertname": [], "alertstate": [], "severity": []}}

Rule = dict[str, Any]


def rules() -> list[Rule]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


ALERTS = {rule["alert"]: rule for rule in rules() if "alert" in rule}
RECORDED = {rule["record"]: rule["expr"] for rule in rules() if "record" in rule}


def dashboard_module() -> Any:  # noqa: ANN401 - a script, in no package
    path = ROOT / "deploy/grafana/dashboard.py"
    spec = importlib.util.spec_from_file_location("dashboard", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


DASHBOARD = json.loads((ROOT / "deploy/grafana/dashboards/lookalike.json").read_text())


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    async with open_shop() as opened:
        yield opened


@pytest.fixture
async def known(shop: Shop) -> Series:
    """Every series that exists with its labels: the gateway's as they are, the servers' as they were found."""
    await shop.bring([product("a")])
    metrics.call_began("m")
    metrics.call_ended("m", code="INTERNAL", reason="INTERNAL", seconds=0.1)
    metrics.phase_took("own", 0.1, version=1)
    metrics.search_answered("default", version=1, found=True)
    metrics.versions_are([("default", 1, "serving")])
    metrics.photo_seen(1)
    metrics.photo_asked(known=True)
    metrics.server_asked("triton", "infer", outcome="ok", seconds=0.1)
    metrics.index_rows("default", "search", 1)
    metrics.product_imported("default", "created", embedded=1)
    metrics.page_views("default", "accepted", 1)
    metrics.also_viewed(1, 2)
    metrics.permit_refused("photos")
    found: Series = dict(MADE)
    for server in ("triton", "milvus"):
        found |= cast(Series, json.loads((FOLDER / f"{server}.json").read_text()))
    for metric in REGISTRY.collect():
        for sample in metric.samples:
            found[sample.name] = {label: [] for label in sample.labels}
    for name, expression in RECORDED.items():
        (labels,) = kept_labels(parsed(expression))
        found[name] = {label: [] for label in labels - {"le"}}
    return found


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_what_how_bad_and_what_to_do(name: str) -> None:
    rule = ALERTS[name]
    assert rule["labels"]["severity"] in ("page", "ticket")
    notes = rule["annotations"]
    assert notes["summary"]
    assert notes["description"].endswith(".")
    assert notes["runbook_url"] == f"docs/runbooks/{name}.md"
    assert (ROOT / notes["runbook_url"]).is_file()


async def test_rules_name_metrics_and_labels_that_exist(known: Series) -> None:
    for rule in rules():
        labels = check(rule["expr"], known)
        said = re.findall(r"\$labels\.(\w+)", str(rule.get("annotations", "")))
        assert set(said) <= labels, rule


async def test_a_metric_or_word_that_does_not_exist_is_found(known: Series) -> None:
    for wrong in (
        "lookalike_cals_total",
        'lookalike_calls_total{verb="x"}',
        'lookalike_calls_total{code="FINE"}',
        'lookalike_call_errors_total{reason=~"OVERLOADED|OVERLODED"}',
        'lookalike_phase_seconds_count{phase="waiting"}',
        'nv_inference_request_failure{reason="BAD"}',
        "sum by (model) (rate(lookalike_calls_total[5m]))",
    ):
        with pytest.raises(AssertionError):
            check(wrong, known)


async def test_each_line_of_the_dashboard_names_metrics_and_labels_that_exist(known: Series) -> None:
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", []):
            labels = check(target["expr"], known)
            said = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            assert said <= labels, f"{panel['title']}: {target['legendFormat']}"
    for annotation in DASHBOARD["annotations"]["list"]:
        check(annotation["expr"], known)


def test_the_same_faults_count_in_every_window() -> None:
    faults = {name.rpartition("ratio_rate")[2]: text for name, text in RECORDED.items() if "faults" in name}
    assert set(faults) == {"5m", "30m", "1h", "6h"}
    assert len({text.replace(f"[{window}]", "") for window, text in faults.items()}) == 1


def test_the_dashboard_is_what_its_source_says() -> None:
    assert dashboard_module().written() == (ROOT / "deploy/grafana/dashboards/lookalike.json").read_text(), (
        "run make dashboard"
    )


def test_the_dashboards_panels_lie_beside_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not taken & cells, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    rows = [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"]
    assert rows == [
        "At a glance",
        "Traffic",
        "Admission",
        "Where the time goes",
        "Triton",
        "Milvus",
        "Imports and writes",
        "Embedding versions",
        "Also viewed",
        "Processes",
    ]


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == set(ALERTS)
    text = OPERATIONS.read_text()
    assert [name for name in ALERTS if f"(runbooks/{name}.md)" not in text] == []


async def test_runbooks_answer_the_same_questions_and_name_what_exists(known: Series) -> None:
    bases = {re.sub("_(bucket|count|sum)$", "", series) for series in known} | {"lookalike_service"}
    for name in ALERTS:
        text = (RUNBOOKS / f"{name}.md").read_text()
        assert text.startswith(f"# {name}\n")
        assert re.findall(r"^## (.+)$", text, re.MULTILINE) == SECTIONS, name
        places = [text.index(f"## {section}") for section in SECTIONS] + [len(text)]
        assert all(len(text[begin:end].split()) > 8 for begin, end in pairwise(places)), f"{name} has an empty section"
        named = set(re.findall(r"\b(?:lookalike|nv|milvus_proxy|process)_\w+\b", text))
        assert named <= known.keys() | bases, name
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
            assert (RUNBOOKS / link).is_file(), link
        for query in re.findall(r"^    docker compose .*query instant \S+ '(.+)'$", text, re.MULTILINE):
            check(query, known)


# As `docker compose logs` prints it, which in some releases clears the line first, terminal or not.
PRINTED = '\x1b[2Ktriton-1  | E1126 17:53:14.865237 7 server.cc:241] "CudaDriverHelper has not been initialized."\n'


@pytest.mark.parametrize("name", ["StageFails", "TritonDown"])
def test_runbooks_find_tritons_errors_as_compose_prints_them(name: str) -> None:
    text = (RUNBOOKS / f"{name}.md").read_text()
    (command,) = re.findall(r"^    docker compose logs .* triton \| (grep -E '[^']+') \| tail", text, re.MULTILINE)
    found = subprocess.run(["sh", "-c", command], input=PRINTED, capture_output=True, text=True, check=False)
    assert found.stdout == PRINTED


def test_promtool_agrees_about_rules_and_when_they_fire() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed; it comes with Prometheus, on Debian in the package prometheus")
    for command in (
        ["check", "config", str(CONFIG)],
        ["check", "rules", str(RULES)],
        ["test", "rules", str(RULES_TEST)],
    ):
        done = subprocess.run([promtool, *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_is_tested_to_fire_and_not_to() -> None:
    found: dict[bool, set[str]] = {True: set(), False: set()}
    for test in yaml.safe_load(RULES_TEST.read_text())["tests"]:
        for case in test["promql_expr_test"]:
            (name,) = re.findall(r'alertname="(\w+)"', case["expr"])
            found[bool(case["exp_samples"])].add(name)
    assert found == {True: set(ALERTS), False: set(ALERTS)}
