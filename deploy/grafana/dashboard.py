"""`make dashboard`: writes deploy/grafana/dashboards/lookalike.json, as Grafana reads it, from dashboard.yml."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import yaml

__all__ = ["FILE", "dashboard", "written"]

ROWS: Final = Path(__file__).parent / "dashboard.yml"
FILE: Final = Path(__file__).parent / "dashboards" / "lookalike.json"
SOURCE: Final = {"type": "prometheus", "uid": "prometheus"}
# How many columns a dashboard has, and how high a panel is.
COLUMNS: Final = 24
HEIGHT: Final = 8
HEIGHT_OF_NUMBERS: Final = 4

Fields = dict[str, Any]


def dashboard() -> Fields:
    """All of it."""
    panels: list[Fields] = []
    top = 0
    for row in yaml.safe_load(ROWS.read_text())["rows"]:
        panels.append(
            {"type": "row", "title": row["title"], "collapsed": False, "panels": []} | _at(0, top, COLUMNS, 1)
        )
        top += 1
        beside = row["beside"]
        width, height = COLUMNS // beside, HEIGHT_OF_NUMBERS if row["panels"][0].get("single") else HEIGHT
        for number, panel in enumerate(row["panels"]):
            down, right = divmod(number, beside)
            panels.append(_panel(panel) | _at(width * right, top + height * down, width, height))
        top += height * -(-len(row["panels"]) // beside)
    return {
        "uid": "lookalike",
        "title": "Lookalike",
        "tags": ["lookalike"],
        "schemaVersion": 41,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        # One cross hair on all panels.
        "graphTooltip": 1,
        "annotations": {"list": [_alerts()]},
        "templating": {"list": []},
        "panels": [panel | {"id": number} for number, panel in enumerate(panels, start=1)],
    }


def written() -> str:
    """The text of the file."""
    return json.dumps(dashboard(), indent=1) + "\n"


def _at(x: int, y: int, width: int, height: int) -> Fields:
    return {"gridPos": {"x": x, "y": y, "w": width, "h": height}}


def _panel(panel: Fields) -> Fields:
    single = panel.get("single", False)
    targets = [
        {"refId": chr(ord("A") + number), "datasource": SOURCE, "expr": query, "legendFormat": legend}
        for number, (legend, query) in enumerate(panel["lines"].items())
    ]
    return {
        "type": "stat" if single else "timeseries",
        "title": panel["title"],
        "description": panel.get("about", ""),
        "datasource": SOURCE,
        "fieldConfig": {"defaults": _number(panel) if single else _curve(panel), "overrides": []},
        "options": _options(single=single),
        "targets": targets,
    }


def _number(panel: Fields) -> Fields:
    steps = [{"color": "green", "value": None}]
    if "bad_from" in panel:
        steps.append({"color": "red", "value": panel["bad_from"]})
    if "bad_below" in panel:
        steps = [{"color": "red", "value": None}, {"color": "green", "value": panel["bad_below"]}]
    return {
        "unit": panel["unit"],
        "color": {"mode": "thresholds"},
        "thresholds": {"mode": "absolute", "steps": steps},
    }


def _curve(panel: Fields) -> Fields:
    stacked = panel.get("stacked", False)
    return {
        "unit": panel["unit"],
        "min": 0,
        "color": {"mode": "palette-classic"},
        "custom": {
            "lineWidth": 1,
            "fillOpacity": 20 if stacked else 0,
            "showPoints": "never",
            "stacking": {"mode": "normal" if stacked else "none"},
        },
    }


def _options(*, single: bool) -> Fields:
    if single:
        return {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value", "graphMode": "area"}
    return {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }


def _alerts() -> Fields:
    """A mark on every panel where an alert that wakes somebody was firing."""
    return {
        "name": "Alerts",
        "enable": True,
        "datasource": SOURCE,
        "expr": 'ALERTS{alertstate="firing", severity="page"}',
        "titleFormat": "{{alertname}}",
        "iconColor": "red",
        "step": "60s",
    }


if __name__ == "__main__":
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(written())
