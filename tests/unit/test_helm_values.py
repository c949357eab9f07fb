"""The values of the Helm chart: what they may be, and that they agree with the rest of the project."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import tomllib
from pathlib import Path

import jsonschema
import pytest
import yaml
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from lookalike_service.server import SERVICES
from lookalike_service.settings import INDEX_KINDS, Settings
from lookalike_service.triton import TritonFinder
from support_helm import CHART, ROOT, copied, helm, values
from support_triton import FakeTriton, serving


def test_values_are_what_their_schema_allows() -> None:
    validator = jsonschema.Draft7Validator(json.loads((CHART / "values.schema.json").read_text()))
    for files in ((), ("values-cpu.yaml",), ("values-gpu.yaml",)):
        assert [error.message for error in validator.iter_errors(values(*files))] == []
    assert list(validator.iter_errors({**values(), "gatway": {}}))


def test_the_schema_knows_the_settings() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())["properties"]
    free = set(schema["gateway"]["properties"]["settings"]["propertyNames"]["enum"])
    known = {name.upper() for name in Settings.model_fields}
    named = set(re.findall(r"\bLOOKALIKE_([A-Z_]+)\b", (CHART / "templates/_helpers.tpl").read_text()))
    assert named - known == set()
    # DATABASE_USER and _PASSWORD are part of database-url, and one pod is one worker.
    assert free | named | {"DATABASE_USER", "DATABASE_PASSWORD", "WORKERS"} == known, "name it in values.schema.json"
    assert tuple(schema["index"]["properties"]["kind"]["enum"]) == INDEX_KINDS
    assert set(schema["gateway"]["properties"]["readinessService"]["enum"]) == {"", *SERVICES}


def test_versions_are_those_of_the_project_and_of_compose() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    chart, given = yaml.safe_load((CHART / "Chart.yaml").read_text()), values()
    assert chart["appVersion"] == project["version"]
    assert services["gateway"]["image"] == f"{given['gateway']['image']['repository']}:{project['version']}"
    assert services["triton"]["image"] == f"{given['triton']['image']['repository']}:{given['triton']['image']['tag']}"
    assert services["milvus"]["image"].endswith(f":{given['milvus']['image']['all']['tag']}")
    (milvus,) = chart["dependencies"]
    assert (milvus["condition"], milvus["repository"]) == ("milvus.enabled", "https://zilliztech.github.io/milvus-helm")
    assert re.fullmatch(r"\d+\.\d+\.\d+", milvus["version"])


def test_the_gateways_image_reaches_the_bucket() -> None:
    assert values()["images"]["url"].startswith("s3://")
    assert re.search(r"^s3fs==", (ROOT / "deploy/gateway/requirements.txt").read_text(), re.MULTILINE), "run make lock"


def test_the_guide_names_values_that_there_are() -> None:
    given = values()
    tops = "|".join(given)
    named = set(re.findall(rf"`((?:{tops})(?:\.\w+)+)[`:=]", (ROOT / "docs/helm.md").read_text()))
    assert len(named) > 10
    # Values of Milvus' own chart that this one leaves as they are.
    for name in named - {"milvus.externalS3"}:
        here = given
        for key in name.split("."):
            assert key in here, name
            here = here[key]


def test_every_value_is_explained() -> None:
    lines = (CHART / "values.yaml").read_text().splitlines()
    tops = [(before, line) for before, line in itertools.pairwise(lines) if re.match(r"\w+:", line)]
    assert len(tops) > 10
    assert [line for before, line in tops if not before.startswith("#")] == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("gateway.settings.PAGE_SIZ=3", "PAGE_SIZ"),
        ("access.keysSecret=", "nobody would be asked who he is"),
        ("access.clientCa=true", "access.clientCa needs access.tlsSecret"),
        ("milvus.enabled=false", "index.uri must say where Milvus is"),
        ("triton.configName=gpu", "/triton/gpu/count"),
        ("gateway.image.tag=latest", "/gateway/image/tag"),
    ],
)
def test_what_cannot_work_is_refused_with_a_reason(tmp_path: Path, arguments: str, sentence: str) -> None:
    done = helm("template", "shop", str(copied(tmp_path)), "--set", arguments)
    assert done.returncode != 0
    assert sentence in done.stderr


@pytest.mark.parametrize(("configuration", "files"), [("", ()), ("gpu", ("values-gpu.yaml",))], ids=["cpu", "gpu"])
def test_a_tritons_photos_are_those_that_the_gateway_would_count(configuration: str, files: tuple[str, ...]) -> None:
    fake = FakeTriton()
    for path in (ROOT / "model_repository").glob(f"*/configs/{configuration}.pbtxt"):
        fake.configs[path.parts[-3]] = text_format.Parse(path.read_text(), model_config_pb2.ModelConfig())

    async def capacity() -> int:
        async with serving(fake) as address, await TritonFinder.connect(address, timeout=5) as finder:
            return finder.capacity

    given = values(*files)["triton"]
    assert given["configName"] == configuration
    assert given["photosAtOnce"] == asyncio.run(capacity())
