"""How docker-compose.yml is watched and bounded: what is scraped, what the dashboard shows, how much memory it has."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

ROOT = Path(__file__).parents[2]
TRITON = ("triton", "triton-gpu")

Compose = dict[str, Any]


@pytest.fixture(scope="module")
def compose() -> Compose:
    """The file as YAML reads it: anchors merged, variables as they are written."""
    return cast(Compose, yaml.safe_load((ROOT / "docker-compose.yml").read_text()))


def test_prometheus_scrapes_what_shows_metrics(compose: Compose) -> None:
    services = compose["services"]
    (mounted,) = [volume for volume in services["prometheus"]["volumes"] if isinstance(volume, dict)]
    assert f"--config.file={mounted['target']}/prometheus.yml" in services["prometheus"]["command"]
    folder = ROOT / mounted["source"]
    config = yaml.safe_load((folder / "prometheus.yml").read_text())
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    (found,) = jobs.pop("gateway")["file_sd_configs"]
    targets = {name: job["static_configs"][0]["targets"] for name, job in jobs.items()}
    assert targets == {"triton": ["triton:8002"], "milvus": ["milvus:9091"], "prometheus": ["localhost:9090"]}
    for name in (*found["files"], *config["rule_files"]):
        assert (folder / name).is_file()
    assert all("--metrics-address=0.0.0.0" in services[name]["command"] for name in TRITON)
    assert all("backend" in services[name]["networks"] for name in ("gateway", *TRITON, "milvus", "prometheus"))


def test_each_worker_is_scraped(compose: Compose) -> None:
    environment = compose["services"]["gateway"]["environment"]
    first = int(environment["LOOKALIKE_METRICS_ADDRESS"].rpartition(":")[2])
    (workers,) = re.findall(r"^WORKERS=(\d+)$", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert environment["LOOKALIKE_WORKERS"] == f"${{WORKERS:-{workers}}}"
    (listed,) = yaml.safe_load((ROOT / "deploy/prometheus/gateways.yml").read_text())
    assert listed["targets"] == [f"gateway:{first + number}" for number in range(int(workers))]


def test_the_dashboard_has_its_figures_from_prometheus_and_asks_nobody_else(compose: Compose) -> None:
    grafana = compose["services"]["grafana"]
    mounted = {each["target"]: ROOT / each["source"] for each in grafana["volumes"] if isinstance(each, dict)}
    provisioning = mounted["/etc/grafana/provisioning"]
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((provisioning / "dashboards/lookalike.yml").read_text())["providers"]
    dashboards = mounted[provider["options"]["path"]]
    home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    written = json.loads((dashboards / Path(home).name).read_text())
    used = {target["datasource"]["uid"] for panel in written["panels"] for target in panel.get("targets", [])}
    assert used == {source["uid"]}
    assert grafana["environment"]["GF_ANALYTICS_REPORTING_ENABLED"] == "false"


def test_no_service_can_take_the_memory_of_another(compose: Compose) -> None:
    example = (ROOT / ".env.example").read_text().splitlines()
    for name, service in compose["services"].items():
        bound = re.fullmatch(r"\$\{([A-Z_]+):-(\d+[gm])\}|\d+[gm]", service["mem_limit"])
        assert bound is not None, name
        assert bound[1] is None or f"{bound[1]}={bound[2]}" in example, name
        assert service["pids_limit"] >= 1024, name
