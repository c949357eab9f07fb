"""The Helm chart, as far as that goes without a cluster: linted, rendered, and held to Kubernetes' own schemas."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from lookalike_service.listening import check_callers
from lookalike_service.settings import Settings
from support_helm import CASES, CHART, ROOT, Manifest, allowed, containers, copied, found, helm, pods, rendered

# The oldest that the chart takes and the newest whose schemas are at hand.
KUBERNETES = ("1.30", "1.37")
CUSTOM = ("PodMonitor", "ScaledObject")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("chart")


@pytest.fixture(scope="module", params=CASES)
def manifests(request: pytest.FixtureRequest, folder: Path) -> list[Manifest]:
    return rendered(folder, *CASES[request.param])


@pytest.fixture(scope="module")
def default(folder: Path) -> list[Manifest]:
    return rendered(folder)


@pytest.fixture(scope="module")
def gpu(folder: Path) -> list[Manifest]:
    return rendered(folder, *CASES["gpu"])


def test_lint_finds_nothing(folder: Path) -> None:
    for arguments in CASES.values():
        done = helm("lint", "--strict", str(copied(folder)), *arguments)
        assert done.returncode == 0, done.stdout + done.stderr


def test_kubernetes_schemas_allow_what_is_rendered(manifests: list[Manifest]) -> None:
    for manifest in manifests:
        if manifest["kind"] not in CUSTOM:  # whose schemas are their operators'
            for version in KUBERNETES:
                kubernetes_validate.validate(manifest, version, strict=True)


def test_the_schemas_refuse_a_misspelled_field(default: list[Manifest]) -> None:
    gateway = found(default, "Deployment")["gateway"]
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**gateway, "spec": {**gateway["spec"], "replica": 2}}, "1.37", strict=True)


def test_names_are_known_once_and_selectors_find_their_pods(manifests: list[Manifest]) -> None:
    names = [(m["kind"], m["metadata"]["name"]) for m in manifests]
    assert len(set(names)) == len(names)
    made = pods(manifests)
    for deployment in found(manifests, "Deployment").values():
        template = deployment["spec"]["template"]["metadata"]["labels"]
        assert deployment["spec"]["selector"]["matchLabels"].items() <= template.items()
    for service in found(manifests, "Service").values():
        (pod,) = [p for p in made.values() if service["spec"]["selector"].items() <= p["metadata"]["labels"].items()]
        ports = {port["name"] for port in pod["spec"]["containers"][0]["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    for kind in ("PodDisruptionBudget", "PodMonitor"):
        for part, manifest in found(manifests, kind).items():
            assert manifest["spec"]["selector"]["matchLabels"].items() <= made[part]["metadata"]["labels"].items()


def test_what_scales_is_there_and_may_be_drained(manifests: list[Manifest]) -> None:
    deployments = found(manifests, "Deployment")
    scaled = {**found(manifests, "HorizontalPodAutoscaler"), **found(manifests, "ScaledObject")}
    assert set(scaled) == set(found(manifests, "PodDisruptionBudget")) == set(deployments) == {"gateway", "triton"}
    for part, scaler in scaled.items():
        assert scaler["spec"]["scaleTargetRef"]["name"] == deployments[part]["metadata"]["name"]
        # Whoever scales says how many.
        assert "replicas" not in deployments[part]["spec"]
        fewest, most = (
            scaler["spec"].get(f"{end}Replicas", scaler["spec"].get(f"{end}ReplicaCount")) for end in ("min", "max")
        )
        assert 2 <= fewest < most
    for budget in found(manifests, "PodDisruptionBudget").values():
        assert "minAvailable" not in budget["spec"] and budget["spec"]["maxUnavailable"] == 1


def test_triton_is_scaled_by_the_wait_of_photos(folder: Path, default: list[Manifest]) -> None:
    (external, _) = found(default, "HorizontalPodAutoscaler")["triton"]["spec"]["metrics"]
    (rule,) = yaml.safe_load((CHART.parent / "prometheus-adapter.yaml").read_text())["rules"]["external"]
    assert external["external"]["metric"]["name"] == rule["name"]["as"]
    (trigger, _) = found(rendered(folder, *CASES["all"]), "ScaledObject")["triton"]["spec"]["triggers"]
    query = trigger["metadata"]["query"]
    assert query == rule["metricsQuery"].replace("<<.LabelMatchers>>", 'namespace="fashion"')
    ours = set(re.findall(r"\blookalike_\w+?(?=_sum|_count)", query))
    metrics = (ROOT / "service/lookalike_service/metrics.py").read_text()
    assert ours and all(f'"{name}"' in metrics for name in ours)


def test_pods_have_no_rights_and_bounds_for_memory(manifests: list[Manifest]) -> None:
    users = {"gateway": 10001, "triton": 1000}
    for part, pod in pods(manifests).items():
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is spec["enableServiceLinks"] is False, part
        assert spec["securityContext"]["runAsNonRoot"] is True, part
        assert spec["securityContext"]["runAsUser"] == users.get(part, 10001), part
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, part
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys(), part
        for container in containers(pod):
            held = container["securityContext"]
            assert held["readOnlyRootFilesystem"] is True and held["allowPrivilegeEscalation"] is False, part
            assert held["capabilities"] == {"drop": ["ALL"]} and "privileged" not in held, part
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), part
            assert "memory" in container["resources"]["limits"], part
            assert re.search(r":\d+\.\d+[\w.-]*$", container["image"]), container["image"]
    for path, user in (("deploy/gateway/Dockerfile", "--uid 10001 "), ("deploy/triton/Dockerfile", "(id 1000)")):
        assert user in (ROOT / path).read_text()


def test_mounts_have_volumes_and_volumes_are_mounted(manifests: list[Manifest]) -> None:
    for part, pod in pods(manifests).items():
        volumes = [volume["name"] for volume in pod["spec"].get("volumes", [])]
        mounted = [mount["name"] for each in containers(pod) for mount in each.get("volumeMounts", [])]
        assert sorted(volumes) == sorted(set(mounted)), part


def test_exactly_the_flows_that_are_needed_get_through(default: list[Manifest]) -> None:
    resolving = {(part, "dns", 53) for part in ("gateway", "migration", "test")}
    reading = {("monitoring", "gateway", 9464), ("monitoring", "triton", 8002)}
    calling = {(who, "gateway", 50051) for who in ("neighbor", "milvus")}
    leaving = {("gateway", "anybody", port) for port in (443, 5432)} | {("migration", "anybody", 5432)}
    # Without addresses in networkPolicy.database and .objectStore these ports are open, so to all that has no policy.
    leaving |= {(who, where, port) for who, _, port in leaving for where in ("milvus", "dns")}
    asking = {("gateway", "triton", 8001), ("gateway", "milvus", 19530), ("test", "gateway", 50052)}
    assert allowed(default) == resolving | reading | calling | leaving | asking


def test_jobs_reach_what_gateways_reach_and_nobody_reaches_them(folder: Path) -> None:
    flows = allowed(rendered(folder, "--set-json", 'commands={"reindex-2": ["reindex", "2"]}'))
    assert {flow for flow in flows if flow[1] == "command"} == set()
    own = {(flow[1], flow[2]) for flow in flows if flow[0] == "command"}
    assert own - {("gateway", 50051)} == {(flow[1], flow[2]) for flow in flows if flow[0] == "gateway"}


def test_the_settings_hold_and_name_what_is_there(manifests: list[Manifest], monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = pods(manifests)["gateway"]["spec"]["containers"][0]
    given = found(manifests, "ConfigMap")["gateway"]["data"]
    secret = [variable["name"] for variable in gateway["env"]]
    for name, value in {**dict.fromkeys(secret, "0123456789abcdef"), **given}.items():
        assert name.startswith(("LOOKALIKE_", "AWS_"))
        monkeypatch.setenv(name, value)
    settings = Settings()
    check_callers(settings)
    ports = {port["name"]: str(port["containerPort"]) for port in gateway["ports"]}
    for name, address in (("grpc", "address"), ("health", "health_address"), ("metrics", "metrics_address")):
        assert getattr(settings, address) == f"0.0.0.0:{ports[name]}"
    triton, port = settings.triton_address.removeprefix("dns:///").split(":")
    service = next(m for m in manifests if m["kind"] == "Service" and m["metadata"]["name"] == triton)
    assert service["spec"]["clusterIP"] == "None" and settings.triton_round_robin
    assert int(port) in [each["port"] for each in service["spec"]["ports"]]
    mounts = {mount["mountPath"] for mount in gateway["volumeMounts"]}
    files = [settings.keys_file, settings.tls_certificate, settings.tls_key, settings.tls_client_ca]
    assert {str(Path(file).parent) for file in files if file} <= mounts


def test_probes_ask_what_answers_and_pods_end_in_peace(manifests: list[Manifest]) -> None:
    for part in ("gateway", "triton"):
        pod = pods(manifests)[part]["spec"]
        container = pod["containers"][0]
        assert {"startupProbe", "livenessProbe", "readinessProbe", "lifecycle"} <= container.keys()
        drained = container["lifecycle"]["preStop"]["sleep"]["seconds"] + _finishing(part, container, manifests)
        assert pod["terminationGracePeriodSeconds"] >= drained + 5
    gateway, triton = (pods(manifests)[part]["spec"]["containers"][0] for part in ("gateway", "triton"))
    assert {gateway[f"{kind}Probe"]["grpc"]["port"] for kind in ("startup", "liveness", "readiness")} == {50052}
    names = [port["name"] for port in triton["ports"]]
    for kind in ("startup", "readiness"):
        assert triton[f"{kind}Probe"]["httpGet"]["port"] in names
    # Readiness of this server says nothing about its steps, so liveness is a real inference.
    assert triton["livenessProbe"]["exec"]["command"][1] in (ROOT / "deploy/triton/Dockerfile").read_text()
    script = pods(manifests)["test"]["spec"]["containers"][0]["args"][1]
    assert script in (ROOT / "deploy/gateway/Dockerfile").read_text()
    waits = int(found(manifests, "ConfigMap")["gateway"]["data"]["LOOKALIKE_STARTUP_SECONDS"])
    assert _seconds(gateway["startupProbe"]) > waits >= _seconds(triton["startupProbe"])


def test_all_tritons_are_kept_busy_by_the_fewest_gateways(manifests: list[Manifest]) -> None:
    most = found(manifests, "HorizontalPodAutoscaler") | found(manifests, "ScaledObject")
    tritons = most["triton"]["spec"].get("maxReplicas", most["triton"]["spec"].get("maxReplicaCount"))
    permits = int(found(manifests, "ConfigMap")["gateway"]["data"]["LOOKALIKE_PHOTO_PERMITS"])
    at_once = 12 if "nvidia.com/gpu" in _triton(manifests)["resources"]["limits"] else 4
    assert permits * most["gateway"]["spec"]["minReplicas"] >= tritons * at_once


def test_gpus_are_seen_where_they_are_asked_for(default: list[Manifest], gpu: list[Manifest]) -> None:
    assert {"name": "NVIDIA_VISIBLE_DEVICES", "value": "void"} in _triton(default)["env"]
    assert "--model-config-name" not in " ".join(_triton(default)["args"])
    triton = _triton(gpu)
    assert triton["resources"]["limits"]["nvidia.com/gpu"] == 1 and "env" not in triton
    (name,) = [part.partition("=")[2] for part in triton["args"] if part.startswith("--model-config-name")]
    pages = list((ROOT / "model_repository").glob(f"*/configs/{name}.pbtxt"))
    engines = {path for page in pages for path in re.findall(r'engine_cache_path" value: "([^"]+)"', page.read_text())}
    assert engines and engines <= {mount["mountPath"] for mount in triton["volumeMounts"]}


def test_tables_are_brought_up_to_date_first_and_with_the_database_alone(default: list[Manifest]) -> None:
    job = found(default, "Job")["migration"]
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["python", "-m", "lookalike_service", "migrate"]
    assert {variable["name"] for variable in container["env"]} == {"LOOKALIKE_DATABASE_URL", "LOOKALIKE_DATABASE_TLS"}


def test_what_is_turned_off_is_not_there(folder: Path) -> None:
    off = ["gateway.autoscaling", "triton.autoscaling", "podDisruptionBudget", "networkPolicy", "migration", "milvus"]
    arguments = ["index.uri=https://milvus.example.com:19530", "triton.replicas=3", "gateway.replicas=4"]
    manifests = rendered(folder, "--set", ",".join([*arguments, *(f"{name}.enabled=false" for name in off)]))
    assert {m["kind"] for m in manifests} == {"ConfigMap", "Deployment", "Pod", "Service", "ServiceAccount"}
    assert {part: d["spec"]["replicas"] for part, d in found(manifests, "Deployment").items()} == {
        "gateway": 4,
        "triton": 3,
    }
    assert found(manifests, "ConfigMap")["gateway"]["data"]["LOOKALIKE_PHOTO_PERMITS"] == "3"  # 3 x 4 / 4


def _triton(manifests: list[Manifest]) -> Any:  # noqa: ANN401 - a container
    return pods(manifests)["triton"]["spec"]["containers"][0]


def _finishing(part: str, container: Manifest, manifests: list[Manifest]) -> int:
    if part == "gateway":
        return int(found(manifests, "ConfigMap")["gateway"]["data"]["LOOKALIKE_GRACE_SECONDS"])
    return next(int(part.partition("=")[2]) for part in container["args"] if part.startswith("--exit-timeout"))


def _seconds(probe: Manifest) -> int:
    return int(probe["failureThreshold"] * probe["periodSeconds"])
