"""docker-compose.yml and what it builds, checked as far as that goes without a Docker engine."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from pathlib import Path
from typing import Any, cast

import jsonschema
import pytest
import yaml

from lookalike_service.listening import is_local
from lookalike_service.settings import Settings

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "tests/unit/data/compose-spec.json"
TRITON = ("triton", "triton-gpu")
DOCKERFILES = ("deploy/gateway/Dockerfile", "deploy/triton/Dockerfile", "deploy/models/Dockerfile")
# The Python of NVIDIA's 24.10 image, on which decode and crop run there.
IMAGE_PYTHON = (3, 10)
# TLS_KEY names a file.
SECRET = re.compile("PASSWORD|(?<!TLS_)KEY|TOKEN")

Compose = dict[str, Any]


@pytest.fixture(scope="module")
def compose() -> Compose:
    """The file as YAML reads it: anchors merged, variables as they are written."""
    return cast(Compose, yaml.safe_load((ROOT / "docker-compose.yml").read_text()))


def test_is_what_the_published_schema_allows(compose: Compose) -> None:
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))
    assert [error.message for error in validator.iter_errors(compose)] == []


def test_the_schema_refuses_a_misspelled_key(compose: Compose) -> None:
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))
    services = {**compose["services"], "gateway": {**compose["services"]["gateway"], "heathcheck": {}}}
    assert list(validator.iter_errors({**compose, "services": services}))


def test_every_image_has_a_version(compose: Compose) -> None:
    images = [service["image"] for service in compose["services"].values()]
    images += [image for name in DOCKERFILES for image in _base_images((ROOT / name).read_text())]
    for image in images:
        _, _, tag = image.rpartition(":")
        assert re.search(r"\d+\.\d+|\d{4}-\d{2}-\d{2}", tag), f"{image} is not pinned"


def test_every_service_is_watched_and_comes_back(compose: Compose) -> None:
    for name, service in compose["services"].items():
        check = service["healthcheck"]
        assert {"test", "interval", "timeout", "retries", "start_period"} <= check.keys(), name
        assert _seconds(check["timeout"]) <= _seconds(check["interval"]), name
        assert service["restart"] == "unless-stopped", name
        assert service["logging"]["options"]["max-size"], name


def test_waits_for_health_of_what_exists(compose: Compose) -> None:
    for service in compose["services"].values():
        for name, condition in service.get("depends_on", {}).items():
            assert name in compose["services"]
            assert condition["condition"] == "service_healthy"
    assert set(compose["services"]["gateway"]["depends_on"]) == {*TRITON, "milvus", "postgres"}


def test_only_gateway_and_dashboard_are_published_and_on_loopback(compose: Compose) -> None:
    services = compose["services"]
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert set(published) == {"gateway", "grafana"}
    example = (ROOT / ".env.example").read_text().splitlines()
    for name, ports in published.items():
        for port in ports:
            variable, default = re.fullmatch(r"\$\{([A-Z_]+):-(127\.0\.0\.1:\d+)\}:\d+", port).groups()  # type: ignore[union-attr]
            assert f"{variable}={default}" in example, name
    assert "${GATEWAY_PUBLISH:-127.0.0.1:50051}:50051" in published["gateway"]
    assert "${PAGE_PUBLISH:-127.0.0.1:8080}:8080" in published["gateway"]
    assert services["gateway"]["environment"]["LOOKALIKE_PAGE_ADDRESS"] == "0.0.0.0:8080"
    assert compose["networks"]["backend"]["internal"] is True
    networks = {name: set(service["networks"]) for name, service in services.items()}
    outside = {name: joined - {"backend"} for name, joined in networks.items() if joined != {"backend"}}
    assert outside == {"gateway": {"frontend"}, "grafana": {"dashboards"}}


def test_tritons_administration_wants_a_key_that_the_gateway_does_not_have(compose: Compose) -> None:
    for name in TRITON:
        (restricted,) = [part for part in compose["services"][name]["command"] if "restricted" in part]
        flag, protocols, key = re.fullmatch(r"(--[\w-]+)=([\w,-]+):(.+)", restricted).groups()  # type: ignore[union-attr]
        assert flag == "--grpc-restricted-protocol"
        assert set(protocols.split(",")) == {"model-repository", "shared-memory", "trace", "logging", "statistics"}
        assert key.startswith("admin-key=${TRITON_ADMIN_KEY:?")
        assert "--http-address=127.0.0.1" in compose["services"][name]["command"]
    assert "TRITON_ADMIN_KEY" not in str(compose["services"]["gateway"])


def test_no_container_has_rights_that_it_could_lose(compose: Compose) -> None:
    services = compose["services"]
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"], name
        assert "cap_add" not in service and not service.get("privileged"), name
        assert "no-new-privileges:true" in service["security_opt"], name
    written = {name for name, service in services.items() if not service.get("read_only")}
    assert written == {"milvus", "minio"}  # which write beside their volumes
    for dockerfile in DOCKERFILES:
        *_, user = re.findall(r"^USER (\S+)$", (ROOT / dockerfile).read_text(), re.MULTILINE)
        assert user not in ("root", "0")
    named = {name: service["user"] for name, service in services.items() if "user" in service}
    assert named == {"postgres": "postgres", "prometheus": "nobody", "grafana": "472"}


def test_the_gateways_image_leaves_behind_what_only_builds_it() -> None:
    text = (ROOT / "deploy/gateway/Dockerfile").read_text()
    build, serve = re.split(r"^FROM .+$", text, flags=re.MULTILINE)[1:]
    assert "pip install" in build
    # A change of the source must not fetch every package again.
    assert build.index("--require-hashes") < build.index("COPY service")
    assert 'find_spec("torch") is None' in build
    assert "pip install" not in serve
    assert re.findall(r"^COPY --from=(\w+)", serve, re.MULTILINE) == ["build"]
    packages = _pins(ROOT / "deploy/gateway/requirements.txt")
    assert not {"torch", "onnxruntime", "nvidia-pytriton", "milvus-lite"} & set(packages)


def test_the_gateway_asks_for_keys_and_its_health_check_has_a_port_of_its_own(compose: Compose) -> None:
    gateway = compose["services"]["gateway"]
    environment = gateway["environment"]
    (config,) = [volume for volume in gateway["volumes"] if isinstance(volume, dict)]
    assert Path(environment["LOOKALIKE_KEYS_FILE"]).parent == Path(config["target"])
    assert config["read_only"] is True
    assert environment["LOOKALIKE_HEALTH_ADDRESS"] == environment["HEALTHCHECK_ADDRESS"]
    assert is_local(environment["LOOKALIKE_HEALTH_ADDRESS"])
    assert "LOOKALIKE_ALLOW_ANONYMOUS" not in environment


def test_both_tritons_mount_the_model_repository_read_only(compose: Compose) -> None:
    for name in TRITON:
        (mount,) = [volume for volume in compose["services"][name]["volumes"] if isinstance(volume, dict)]
        assert (ROOT / mount["source"]).resolve() == ROOT / "model_repository"
        assert (ROOT / mount["source"]).is_dir()
        assert mount["read_only"] is True
        assert f"--model-repository={mount['target']}" in compose["services"][name]["command"]


def test_the_two_tritons_differ_by_profile_and_configuration_only(compose: Compose) -> None:
    cpu, gpu = (compose["services"][name] for name in TRITON)
    assert (cpu["profiles"], gpu["profiles"]) == (["cpu"], ["gpu"])
    assert set(gpu["command"]) - set(cpu["command"]) == {"--model-config-name=${TRITON_CONFIG:-gpu}"}
    assert set(cpu["command"]) < set(gpu["command"])
    assert "triton" in gpu["networks"]["backend"]["aliases"]
    assert cpu["build"] == gpu["build"]
    assert cpu["shm_size"] == gpu["shm_size"] == "1g"
    assert _seconds(gpu["healthcheck"]["start_period"]) > _seconds(cpu["healthcheck"]["start_period"])


def test_tensorrt_engines_outlive_the_container(compose: Compose) -> None:
    configurations = list((ROOT / "model_repository").glob("*/configs/gpu.pbtxt"))
    pattern = re.compile(r'key: "trt_(?:engine|timing)_cache_path" value: "([^"]+)"')
    folders = {folder for path in configurations for folder in pattern.findall(path.read_text())}
    targets = {str(volume).partition(":")[2] for volume in compose["services"]["triton-gpu"]["volumes"]}
    assert folders
    assert folders <= targets
    assert all(f"mkdir {folder}" in (ROOT / "deploy/triton/Dockerfile").read_text() for folder in folders)


def test_the_gateways_settings_exist(compose: Compose) -> None:
    prefix = Settings.model_config["env_prefix"]
    known = {f"{prefix}{name}".upper() for name in Settings.model_fields}
    given = {name for name in compose["services"]["gateway"]["environment"] if name.startswith("LOOKALIKE_")}
    assert given
    assert given - known == set()


def test_the_gateways_settings_hold(compose: Compose, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in compose["services"]["gateway"]["environment"].items():
        given = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", str(value))
        monkeypatch.setenv(name, re.sub(r"\$\{[^}]*\}", "0123456789abcdef", given))
    settings = Settings()
    assert settings.workers > 1
    assert settings.triton_address == "triton:8001"
    assert settings.milvus_token.get_secret_value() == "root:0123456789abcdef"
    assert len(settings.token_keys) == 1


def test_the_gateway_asks_only_for_services_that_exist(compose: Compose) -> None:
    environment = compose["services"]["gateway"]["environment"]
    hosts = re.findall(r"(?:^|//|@)([a-z]+):\d+", "\n".join(map(str, environment.values())), re.MULTILINE)
    assert sorted(hosts) == ["milvus", "postgres", "triton"]


def test_the_database_driver_is_installed_with_the_service(compose: Compose) -> None:
    url = compose["services"]["gateway"]["environment"]["LOOKALIKE_DATABASE_URL"]
    driver = re.match(r"postgresql\+(\w+)://", url)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert driver is not None
    assert any(re.match(rf"{driver[1]}\b", requirement) for requirement in extras["service"])


def test_variables_and_the_example_of_env_name_each_other() -> None:
    used = set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "docker-compose.yml").read_text()))
    example = dict(re.findall(r"^([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert set(example) == used
    assert [name for name, value in example.items() if SECRET.search(name) and value] == []


def test_secrets_have_no_default() -> None:
    variables = re.findall(r"\$\{([A-Z_]+)([^}]*)\}", (ROOT / "docker-compose.yml").read_text())
    secrets = [(name, rest) for name, rest in variables if SECRET.search(name)]
    assert {name for name, _ in secrets} >= {
        "POSTGRES_PASSWORD",
        "MILVUS_PASSWORD",
        "MINIO_PASSWORD",
        "TOKEN_KEYS",
        "SESSION_KEY",
    }
    assert [name for name, rest in secrets if not rest.startswith(":?")] == []


def test_volumes_are_used_and_declared(compose: Compose) -> None:
    mounts = [volume for service in compose["services"].values() for volume in service.get("volumes", [])]
    assert {mount.partition(":")[0] for mount in mounts if isinstance(mount, str)} == set(compose["volumes"])


def test_tritons_packages_are_those_that_are_tested() -> None:
    image, tested = (_pins(ROOT / name) for name in ("deploy/triton/requirements.txt", "constraints.txt"))
    assert image["numpy"].startswith("1."), "numpy 2 makes every output of the Python backend empty"
    assert {name: image[name] for name in ("numpy", "opencv-python-headless")} == {
        name: tested[name] for name in ("numpy", "opencv-python-headless")
    }


@pytest.mark.parametrize("image", ["gateway", "triton"])
def test_what_an_image_installs_is_pinned_by_its_hash(image: str) -> None:
    path = ROOT / "deploy" / image / "requirements.txt"
    entries = re.split(r"\n(?=\S)", path.read_text().strip())
    assert len(entries) >= 3
    assert all(re.match(r"[\w.\[\]-]+==[\w.]+ ", entry) and "--hash=sha256:" in entry for entry in entries)
    assert "--require-hashes" in (ROOT / "deploy" / image / "Dockerfile").read_text()


def test_the_gateways_packages_are_those_that_are_tested() -> None:
    image, tested = (_pins(ROOT / name) for name in ("deploy/gateway/requirements.txt", "constraints.txt"))
    # setuptools only builds.
    assert {name: version for name, version in image.items() if name != "setuptools"}.items() <= tested.items()
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {re.split(r"[\[<>=]", requirement)[0] for requirement in extras["service"]}
    assert named <= set(image), "run make lock"


def test_the_glue_is_written_for_the_images_python() -> None:
    sources = [*(ROOT / "model_repository").glob("*/*/*.py"), ROOT / "deploy/triton/check_triton.py"]
    assert len(sources) > 2
    for source in sources:
        tree = ast.parse(source.read_text(), str(source), feature_version=IMAGE_PYTHON)
        assert _imports(tree) & {"tomllib", "StrEnum", "Self", "UTC", "override", "batched"} == set(), source


def test_what_the_dockerfiles_copy_exists_and_is_sent() -> None:
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for name in DOCKERFILES:
        for line in re.findall(r"^COPY (?!--from)(?:--chmod=\d+ )?(.+)$", (ROOT / name).read_text(), re.MULTILINE):
            for source in line.split()[:-1]:
                assert (ROOT / source).exists(), f"{name} copies {source}"
                assert any(Path(source).is_relative_to(entry) for entry in sent), f"{source} is not sent"


@pytest.mark.parametrize("name", DOCKERFILES)
def test_the_images_user_reads_what_was_copied_whatever_rights_the_checkout_has(name: str) -> None:
    # A checkout made under umask 077 once gave images whose health check nobody but root could read.
    serve = re.split(r"^FROM .+$", (ROOT / name).read_text(), flags=re.MULTILINE)[-1]
    copied = re.findall(r"^COPY (?!--from=)(?:--chmod=(\d+) )?.* (\S+)$", serve, re.MULTILINE)
    kept = {target: mode for mode, target in copied if not target.startswith("/tmp/")}
    assert kept
    assert {target: mode for target, mode in kept.items() if not mode or not int(mode[-1]) & 4} == {}


@pytest.mark.parametrize("name", ["docker-compose.yml", "README.md", "docs/quick_start.md"])
def test_images_are_built_before_a_command_writes_the_keys(name: str) -> None:
    # Compose builds what `run` lacks, and its log goes where the keys go.
    text = (ROOT / name).read_text()
    build = re.search(r"^(?:#|) +docker compose build\b", text, re.MULTILINE)
    assert build is not None
    assert build.start() < text.index("docker compose run")


def test_passwords_and_keys_are_not_committed_by_accident() -> None:
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert {".env", "config/"} <= set(ignored)


def test_the_health_checks_are_in_their_images(compose: Compose) -> None:
    for service, folder in (("gateway", "gateway"), ("triton", "triton"), ("triton-gpu", "triton")):
        (script,) = [part for part in compose["services"][service]["healthcheck"]["test"] if part.startswith("/opt/")]
        copied = f"COPY --chmod=644 deploy/{folder}/{Path(script).name} {script}"
        assert copied in (ROOT / f"deploy/{folder}/Dockerfile").read_text().splitlines()


def _base_images(dockerfile: str) -> list[str]:
    values = dict(re.findall(r"^ARG (\w+)=(\S+)$", dockerfile, re.MULTILINE))
    bases = re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)
    return [re.sub(r"\$\{(\w+)\}", lambda match: values[match[1]], base) for base in bases]


def _pins(path: Path) -> dict[str, str]:
    pins = re.findall(r"^([\w.-]+)==([\w.]+)", path.read_text(), re.MULTILINE)
    return {name.lower().replace("_", "-"): version for name, version in pins}


def _seconds(duration: str) -> int:
    number, unit = int(duration[:-1]), duration[-1]
    return number * {"s": 1, "m": 60}[unit]


def _imports(tree: ast.Module) -> set[str]:
    nodes = list(ast.walk(tree))
    modules = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    return modules | {alias.name for n in nodes if isinstance(n, ast.Import | ast.ImportFrom) for alias in n.names}
