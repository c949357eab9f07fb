"""The Helm chart as tests read it: its files, what helm renders of them, and who may reach whom by its policies."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

__all__ = [
    "CASES",
    "CHART",
    "ROOT",
    "Manifest",
    "allowed",
    "containers",
    "copied",
    "found",
    "helm",
    "pods",
    "rendered",
    "values",
]

ROOT: Final = Path(__file__).parents[1]
CHART: Final = ROOT / "deploy/helm/lookalike"
Manifest = dict[str, Any]
CASES: Final[Mapping[str, tuple[str, ...]]] = {
    "default": (),
    "cpu": ("--values", str(CHART / "values-cpu.yaml")),
    "gpu": ("--values", str(CHART / "values-gpu.yaml")),
    "all": (
        "--values", str(CHART / "values-gpu.yaml"), "--set-json", 'commands={"reindex-2": ["reindex", "2"]}',
        "--set", "access.tlsSecret=tls,access.clientCa=true,monitoring.podMonitors=true",
        "--set", "triton.autoscaling.source=keda,gateway.autoscaling.waitSeconds=1,gateway.settings.MAX_DEPTH=500",
        "--set", "images.url=file:///var/lib/lookalike/images,images.existingClaim=shared,gateway.service.headless=false",
    ),
}  # fmt: skip
"""What is rendered and looked at: arguments of helm template."""


def values(*files: str) -> Manifest:
    """values.yaml with other files of the chart on top, as helm lays them."""
    merged: Manifest = {}
    for name in ("values.yaml", *files):
        merged = _laid_on(merged, yaml.safe_load((CHART / name).read_text()))
    return merged


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run helm, which .ci/get-helm has put beside the Python; a machine without it skips the test."""
    command = shutil.which("helm", path=str(Path(sys.executable).parent)) or shutil.which("helm")
    if command is None:
        pytest.skip(f"there is no helm: run .ci/get-helm {sys.executable}, or install it from helm.sh")
    return subprocess.run([command, *arguments], capture_output=True, text=True, timeout=60)


def rendered(folder: Path, *arguments: str) -> list[Manifest]:
    """What a release named shop in the namespace fashion would be; the chart of Milvus is an empty one of its name."""
    done = helm("template", "shop", str(copied(folder)), "--namespace", "fashion", *arguments)
    assert done.returncode == 0, done.stderr
    return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]


def copied(folder: Path) -> Path:
    """The chart with a stand-in for its dependency, which only a network brings."""
    chart = folder / "lookalike"
    if not chart.exists():
        shutil.copytree(CHART, chart, ignore=shutil.ignore_patterns("charts"))
        (dependency,) = yaml.safe_load((CHART / "Chart.yaml").read_text())["dependencies"]
        (chart / "charts/milvus").mkdir(parents=True)
        (chart / "charts/milvus/Chart.yaml").write_text(
            yaml.safe_dump({"apiVersion": "v2", "name": dependency["name"], "version": dependency["version"]})
        )
    return chart


def found(manifests: Sequence[Manifest], kind: str) -> dict[str, Manifest]:
    """Those of a kind, by what comes after the release in their names."""
    return {m["metadata"]["name"].removeprefix("shop-lookalike").strip("-"): m for m in manifests if m["kind"] == kind}


def pods(manifests: Sequence[Manifest]) -> dict[str, Manifest]:
    """Metadata and spec of every pod that the manifests make, by its component."""
    made = [m if m["kind"] == "Pod" else m["spec"].get("template") for m in manifests if m["kind"] in _MAKING]
    return {pod["metadata"]["labels"]["app.kubernetes.io/component"]: pod for pod in made}


def containers(pod: Manifest) -> list[Manifest]:
    """Those that prepare, and those that stay."""
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def allowed(manifests: Sequence[Manifest]) -> set[tuple[str, str, int]]:
    """Which flows the policies let through: from, to, port. Either end is a component, or `anybody` beyond ours.

    As Kubernetes does it: an end that no policy of a direction selects is open, and both ends must agree.
    """
    ours = pods(manifests)
    policies = list(found(manifests, "NetworkPolicy").values())
    flows = set()
    for source in (*ours, "milvus", "monitoring", "neighbor"):
        for target in (*ours, "milvus", "dns", "anybody"):
            for port in _PORTS:
                going = _lets(policies, ours, "Egress", source, target, port)
                if source != target and going and _lets(policies, ours, "Ingress", target, source, port):
                    flows.add((source, target, port))
    # What is not ours reaches others than ours by no policy of ours.
    return {flow for flow in flows if {flow[0], flow[1]} & set(ours)}


_MAKING = ("Deployment", "Job", "Pod")
_PORTS = (53, 443, 5432, 8000, 8001, 8002, 9464, 19530, 50051, 50052)
# The labels of pods, and of their namespaces, that are not of the chart.
_OTHERS: Final[Mapping[str, tuple[dict[str, str], str]]] = {
    "milvus": (
        {"app.kubernetes.io/name": "milvus", "app.kubernetes.io/instance": "shop", "component": "proxy"},
        "fashion",
    ),
    "neighbor": ({"app": "shop-frontend"}, "fashion"),
    "monitoring": ({"app": "prometheus"}, "monitoring"),
    "dns": ({"k8s-app": "kube-dns"}, "kube-system"),
    "anybody": ({}, "elsewhere"),
}


def _lets(
    policies: Sequence[Manifest], ours: Mapping[str, Manifest], direction: str, name: str, peer: str, port: int
) -> bool:
    labels, namespace = _ends(ours, name)
    if namespace != "fashion":
        return True
    chosen = [
        policy["spec"]
        for policy in policies
        if direction in policy["spec"]["policyTypes"] and _selects(policy["spec"]["podSelector"], labels)
    ]
    rules = [rule for spec in chosen for rule in spec.get(direction.lower(), [])]
    return not chosen or any(_rule_lets(rule, direction, _ends(ours, peer), port) for rule in rules)


def _rule_lets(rule: Manifest, direction: str, peer: tuple[dict[str, str], str], port: int) -> bool:
    if port not in [each["port"] for each in rule["ports"]]:
        return False
    ends = rule.get("to" if direction == "Egress" else "from")
    return ends is None or any(_is(end, *peer) for end in ends)


def _is(end: Manifest, labels: Mapping[str, str], namespace: str) -> bool:
    if "namespaceSelector" in end:
        if not _selects(end["namespaceSelector"], {"kubernetes.io/metadata.name": namespace}):
            return False
    elif namespace != "fashion":
        return False
    return _selects(end.get("podSelector", {}), labels)


def _ends(ours: Mapping[str, Manifest], name: str) -> tuple[dict[str, str], str]:
    return (ours[name]["metadata"]["labels"], "fashion") if name in ours else _OTHERS[name]


def _selects(selector: Manifest, labels: Mapping[str, str]) -> bool:
    for expression in selector.get("matchExpressions", []):
        assert expression["operator"] == "In"
        if labels.get(expression["key"]) not in expression["values"]:
            return False
    wanted: Mapping[str, str] = selector.get("matchLabels", {})
    return wanted.items() <= labels.items()


def _laid_on(below: Manifest, above: Manifest) -> Manifest:
    return {**below, **dict(_each(below, above))}


def _each(below: Manifest, above: Manifest) -> Iterator[tuple[str, Any]]:
    for key, value in above.items():
        under = below.get(key)
        yield key, _laid_on(under, value) if isinstance(value, dict) and isinstance(under, dict) else value
