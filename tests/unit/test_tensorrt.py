"""Engines: what is asked of TensorRT, told by a stand-in for the part of its module that is used."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from lookalike_export import tensorrt, triton_config
from lookalike_export.__main__ import main
from lookalike_export.tensorrt import EngineError, build_engines, load_api, profile_shapes
from lookalike_export.triton_config import ConfigMismatch, read_config
from support_glue import REPOSITORY
from support_models import copy_repository

Thing = Any  # TensorRT brings no types
TYPES = {"UINT8": "UINT8", "FP32": "FLOAT", "INT32": "INT32"}


class FakeLayer:
    def __init__(self, name: str, kind: str, inputs: list[Any], outputs: list[Any]) -> None:
        self.name, self.type, self.inputs, self.outputs = name, kind, inputs, outputs
        self.num_inputs, self.num_outputs = len(inputs), len(outputs)
        self.precision: str | None = None
        self.output_types: dict[int, Any] = {}

    def get_input(self, index: int) -> Thing:
        return self.inputs[index]

    def get_output(self, index: int) -> Thing:
        return self.outputs[index]

    def set_output_type(self, index: int, kind: Thing) -> None:
        self.output_types[index] = kind


class FakeTensorRT(ModuleType):
    """Takes the stage's tensors for its graph from `config.pbtxt`, and lays a chain of four layers between them."""

    def __init__(self, repository: Path, *, gpu: bool = True, readable: bool = True, buildable: bool = True) -> None:
        super().__init__("tensorrt")
        self.repository, self.gpu, self.readable, self.buildable = repository, gpu, readable, buildable
        self.__version__ = "10.5.0"
        self.float32 = SimpleNamespace(name="FLOAT")
        self.LayerType = SimpleNamespace(CONVOLUTION="conv", CONSTANT="constant", CAST="cast", SHAPE="shape")
        self.MemoryPoolType = SimpleNamespace(WORKSPACE="workspace")
        self.BuilderFlag = SimpleNamespace(FP16="fp16", OBEY_PRECISION_CONSTRAINTS="obey")
        self.Logger = type("Logger", (), {"WARNING": 2, "__init__": lambda self, level: None})
        self.builds: list[SimpleNamespace] = []
        self.caches: list[bytes] = []

    def Builder(self, logger: object) -> SimpleNamespace:  # noqa: N802 - TensorRT's name
        if not self.gpu:
            raise TypeError("pybind11::init(): factory function returned nullptr")
        return SimpleNamespace(
            create_network=lambda flags: SimpleNamespace(),
            create_builder_config=self._settings,
            create_optimization_profile=self._profile,
            build_serialized_network=self._build,
        )

    def OnnxParser(self, network: Thing, logger: object) -> SimpleNamespace:  # noqa: N802 - TensorRT's name
        def parse_from_file(path: str) -> bool:
            folder = Path(path).parents[1]
            config = read_config(folder / "config.pbtxt", folder)
            sides = [
                [SimpleNamespace(name=n, dtype=self._type(t.kind), shape=t.sizes) for n, t in side.items()]
                for side in (config.inputs, config.outputs)
            ]
            network.num_inputs, network.num_outputs = len(sides[0]), len(sides[1])
            network.get_input, network.get_output = sides[0].__getitem__, sides[1].__getitem__
            network.layers = self._layers(*sides)
            network.num_layers, network.get_layer = len(network.layers), network.layers.__getitem__
            return self.readable

        problem = SimpleNamespace(desc=lambda: "no importer for Einsum")
        return SimpleNamespace(parse_from_file=parse_from_file, num_errors=1, get_error=lambda index: problem)

    def _type(self, kind: str) -> Thing:
        return self.float32 if kind == "FP32" else SimpleNamespace(name=TYPES[kind])

    def _layers(self, inputs: list[Any], outputs: list[Any]) -> list[FakeLayer]:
        made = [SimpleNamespace(name=f"made{i}", dtype=self.float32) for i in range(3)]
        return [
            FakeLayer("normalize", "elementwise", inputs, made[:1]),
            FakeLayer("conv", "conv", [made[0], None], made[1:2]),
            FakeLayer("half", "constant", [], made[2:]),
            FakeLayer("boxes", "elementwise", made[1:], outputs),
        ]

    def _profile(self) -> SimpleNamespace:
        shapes: dict[str, tuple[Any, ...]] = {}
        return SimpleNamespace(shapes=shapes, set_shape=lambda name, *three: shapes.update({name: three}))

    def _settings(self) -> SimpleNamespace:
        settings = SimpleNamespace(flags=[], profiles=[], cache=None)
        settings.set_memory_pool_limit = lambda pool, size: None
        settings.set_flag = settings.flags.append
        settings.add_optimization_profile = settings.profiles.append
        settings.create_timing_cache = lambda content: content
        settings.get_timing_cache = lambda: SimpleNamespace(serialize=lambda: b"timings")

        def set_timing_cache(content: bytes, *, ignore_mismatch: bool) -> bool:
            self.caches.append(content)
            return content != b"of another GPU" and not ignore_mismatch

        settings.set_timing_cache = set_timing_cache
        return settings

    def _build(self, network: Thing, settings: Thing) -> bytes | None:
        self.builds.append(SimpleNamespace(network=network, settings=settings))
        return b"plan" if self.buildable else None


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return copy_repository(REPOSITORY, tmp_path / "repository")


def build(fake: FakeTensorRT, *stages: str) -> list[Path]:
    cache = fake.repository.parent / "timing.cache"
    return list(build_engines(fake, fake.repository, stages, timing_cache=cache))


def test_an_engine_lies_where_the_configuration_looks_for_it(repository: Path) -> None:
    fake = FakeTensorRT(repository)
    assert build(fake, "detect", "embed") == [repository / s / "1" / "model.plan" for s in ("detect", "embed")]
    assert (repository / "detect" / "1" / "model.plan").read_bytes() == b"plan"
    assert [b.settings.flags for b in fake.builds] == [["fp16", "obey"]] * 2


def test_profiles_cover_the_batches_of_the_configuration(repository: Path) -> None:
    fake = FakeTensorRT(repository)
    build(fake, "detect", "embed")
    detect, embed = (b.settings.profiles[0].shapes for b in fake.builds)
    assert detect == {"letterbox": ((1, 3, 352, 352), (8, 3, 352, 352), (16, 3, 352, 352))}
    assert embed["mask"] == ((1, 56, 56), (16, 56, 56), (64, 56, 56)) and set(embed) == {"crops", "mask", "keypoints"}


def test_a_stage_without_preferred_batches_is_best_at_its_largest(repository: Path) -> None:
    config = read_config(repository / "segment" / "config.pbtxt", repository / "segment")
    assert profile_shapes(config) == {"crops": ((1, 3, 224, 224), (64, 3, 224, 224), (64, 3, 224, 224))}


def test_what_follows_the_last_convolution_keeps_full_precision(repository: Path) -> None:
    fake = FakeTensorRT(repository)
    build(fake, "detect")
    layers = {layer.name: layer for layer in fake.builds[0].network.layers}
    assert {name: layer.precision for name, layer in layers.items()} == {
        "normalize": None,
        "conv": None,
        "half": None,
        "boxes": fake.float32,
    }
    assert layers["boxes"].output_types == {0: fake.float32, 1: fake.float32}, "classes are integers"


def test_timings_are_kept_and_those_of_another_machine_dropped(repository: Path) -> None:
    fake = FakeTensorRT(repository)
    build(fake, "detect")
    build(fake, "segment")
    assert fake.caches == [b"", b"timings"]
    (repository.parent / "timing.cache").write_bytes(b"of another GPU")
    build(fake, "segment")
    assert fake.caches[2:] == [b"of another GPU", b""]


@pytest.mark.parametrize(
    ("flaw", "expected"),
    [
        ({"gpu": False}, "found no GPU .* docker run --rm --gpus all"),
        ({"readable": False}, r"cannot read .*detect/1/model\.onnx: no importer for Einsum"),
        ({"buildable": False}, r"could not build .*detect/1/model\.onnx"),
    ],
)
def test_what_tensorrt_refuses_is_said_with_the_file_or_the_remedy(
    repository: Path, flaw: dict[str, bool], expected: str
) -> None:
    with pytest.raises(EngineError, match=f"(?s){expected}"):
        build(FakeTensorRT(repository, **flaw), "detect")
    assert not list(repository.glob("*/1/model.plan"))


def test_a_graph_that_is_not_there_or_is_another_is_named(repository: Path) -> None:
    config = repository / "detect" / "configs" / "tensorrt.pbtxt"
    config.write_text(config.read_text().replace("dims: [ 16, 4 ]", "dims: [ 32, 4 ]"))
    with pytest.raises(ConfigMismatch, match=r"output boxes is FP32 \[-1, 16, 4\].*tensorrt\.pbtxt says FP32"):
        build(FakeTensorRT(repository), "detect")
    (repository / "segment" / "1" / "model.onnx").unlink()
    with pytest.raises(EngineError, match=r"segment/1/model\.onnx is missing; make export"):
        build(FakeTensorRT(repository), "segment")


def test_without_tensorrt_the_command_says_what_to_run_instead(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    assert main(["export", "--target", "tensorrt", "--repository", str(repository)]) == 1
    message = capsys.readouterr().err
    assert "TensorRT is not installed here" in message
    release = next(
        line.partition("=")[2]
        for line in (REPOSITORY.parent / "deploy" / "triton" / "Dockerfile").read_text().splitlines()
        if line.startswith("ARG TRITON_TAG=")
    )
    assert f"nvcr.io/nvidia/tensorrt:{release}" in message and "--target tensorrt" in message


def test_a_tensorrt_without_half_precision_is_refused(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeTensorRT(repository)
    fake.BuilderFlag = SimpleNamespace()
    monkeypatch.setitem(sys.modules, "tensorrt", fake)
    with pytest.raises(EngineError, match=r"TensorRT 10\.5\.0 has no FP16 mode"):
        load_api()


def test_the_command_builds_every_stage(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", FakeTensorRT(repository))
    build_folder = str(repository.parent / "build")
    assert main(["export", "--target", "tensorrt", "--repository", str(repository), "--build", build_folder]) == 0
    assert len(list(repository.glob("*/1/model.plan"))) == 4
    assert capsys.readouterr().out.count("--model-config-name=tensorrt") == 4


def test_it_runs_where_neither_torch_nor_onnx_nor_a_newer_python_is() -> None:
    for module in (tensorrt, triton_config, sys.modules[main.__module__]):
        ast.parse(Path(str(module.__file__)).read_text(), feature_version=(3, 10))
    code = "import sys, lookalike_export.__main__, lookalike_export.tensorrt as t; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "onnx", "onnxruntime", "cv2"} & set(loaded)
