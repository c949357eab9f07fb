"""Engines for one kind of GPU, built from the stages' ONNX files through TensorRT's own Python API.

Written for TensorRT 10 (Triton 24.10) after its documentation. An engine only runs on the TensorRT and the GPU that it
was built with, so it is built beside the server that will serve it and never committed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from lookalike_export.triton_config import StageConfig, Tensor, compare, read_config

__all__ = ["ELSEWHERE", "EngineError", "build_engines", "load_api", "profile_shapes"]

ELSEWHERE = """\
On the machine with the GPU, in the root of the repository, run

  docker run --rm --gpus all --user "$(id -u):$(id -g)" --env HOME=/tmp --volume "$PWD:/lookalike" \\
    --workdir /lookalike nvcr.io/nvidia/tensorrt:24.10-py3 sh -c "pip install --quiet 'tritonclient[grpc]>=2.60' && \\
    PYTHONPATH=export python3 -m lookalike_export export --target tensorrt"

(the tensorrt image of the release that deploy/triton/Dockerfile names, since an engine runs only on the TensorRT that
built it), then start Triton with --model-config-name=tensorrt"""

_WORKSPACE_BYTES = 1 << 30
_KINDS = {"FLOAT": "FP32", "HALF": "FP16"}

Api = Any  # the module tensorrt, which brings no types
Network = Any
Layer = Any


class EngineError(RuntimeError):
    """No engine was built; the message says why, and what to run instead."""


def load_api() -> Api:
    """The module tensorrt; raises EngineError where it is missing or is not one that this module was written for."""
    try:
        api = import_module("tensorrt")
    except ImportError:
        raise EngineError(f"TensorRT is not installed here. {ELSEWHERE}") from None
    if not hasattr(api.BuilderFlag, "FP16"):
        raise EngineError(f"TensorRT {api.__version__} has no FP16 mode any more; this needs TensorRT 10. {ELSEWHERE}")
    return api


def build_engines(api: Api, repository: Path, stages: Sequence[str], *, timing_cache: Path) -> Iterator[Path]:
    """Write `model.plan` of each stage where its `configs/tensorrt.pbtxt` looks for it, and yield it.

    `timing_cache` keeps what TensorRT measured, which makes the next build a matter of seconds. Raises EngineError
    where TensorRT refuses, ConfigMismatch where graph and configuration disagree.
    """
    logger = api.Logger(api.Logger.WARNING)
    try:
        builder = api.Builder(logger)
    except (TypeError, RuntimeError) as error:  # pybind's ways to say that CUDA did not start
        raise EngineError(f"TensorRT found no GPU that it can use ({error}). {ELSEWHERE}") from error
    for stage in stages:
        folder = repository / stage
        config = read_config(folder / "configs" / "tensorrt.pbtxt", folder)
        network = _parsed(api, builder, logger, config)
        plan = _built(api, builder, network, config, timing_cache)
        temporary = config.served.with_suffix(".partial")
        temporary.write_bytes(plan)
        temporary.rename(config.served)
        yield config.served


def profile_shapes(config: StageConfig) -> dict[str, tuple[tuple[int, ...], ...]]:
    """Shapes (min, opt, max) of every input: one row, the preferred batch in the middle, the largest batch."""
    preferred = sorted(config.preferred_batch_sizes) or [config.max_batch_size]
    batches = (1, preferred[(len(preferred) - 1) // 2], config.max_batch_size)
    return {name: tuple((batch, *t.sizes[1:]) for batch in batches) for name, t in config.inputs.items()}


def _parsed(api: Api, builder: Any, logger: Any, config: StageConfig) -> Network:  # noqa: ANN401
    graph = config.graph
    if not graph.is_file():
        raise EngineError(f"{graph} is missing; make export writes it")
    network = builder.create_network(0)
    parser = api.OnnxParser(network, logger)
    if not parser.parse_from_file(str(graph)):
        problems = "; ".join(parser.get_error(i).desc() for i in range(parser.num_errors))
        raise EngineError(f"TensorRT {api.__version__} cannot read {graph}: {problems}")
    compare(
        graph,
        config,
        inputs=_tensors(network.get_input(i) for i in range(network.num_inputs)),
        outputs=_tensors(network.get_output(i) for i in range(network.num_outputs)),
    )
    return network


def _tensors(tensors: Iterator[Any]) -> dict[str, Tensor]:
    return {t.name: Tensor(_KINDS.get(t.dtype.name, t.dtype.name), tuple(t.shape)) for t in tensors}


def _built(
    api: Api,
    builder: Any,  # noqa: ANN401 - of the module tensorrt
    network: Network,
    config: StageConfig,
    timing_cache: Path,
) -> bytes:
    settings = builder.create_builder_config()
    settings.set_memory_pool_limit(api.MemoryPoolType.WORKSPACE, _WORKSPACE_BYTES)
    settings.set_flag(api.BuilderFlag.FP16)
    settings.set_flag(api.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)
    for layer in _after_convolutions(api, network):
        _keep_full_precision(api, layer)
    profile = builder.create_optimization_profile()
    for name, shapes in profile_shapes(config).items():
        profile.set_shape(name, *shapes)
    settings.add_optimization_profile(profile)
    known = timing_cache.read_bytes() if timing_cache.exists() else b""
    # What was measured with another TensorRT or on another GPU is refused, and measured anew.
    if not settings.set_timing_cache(settings.create_timing_cache(known), ignore_mismatch=False):
        settings.set_timing_cache(settings.create_timing_cache(b""), ignore_mismatch=False)
    plan = builder.build_serialized_network(network, settings)
    if plan is None:
        raise EngineError(f"TensorRT {api.__version__} could not build {config.graph}; its own messages stand above")
    timing_cache.parent.mkdir(parents=True, exist_ok=True)
    timing_cache.write_bytes(bytes(settings.get_timing_cache().serialize()))
    return bytes(plan)


def _after_convolutions(api: Api, network: Network) -> list[Layer]:
    """Layers whose results no convolution reads: box arithmetic, suppression, colours, vectors.

    Boxes are compared and Lab distances squared there, and half precision has steps of a quarter at 352 pixels and of 8
    at 10,000. Convolutions, which take nearly all of the time, bear it.
    """
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    maker = {layer.get_output(i).name: layer for layer in layers for i in range(layer.num_outputs)}
    waiting = [layer for layer in layers if layer.type == api.LayerType.CONVOLUTION]
    before = {layer.name for layer in waiting}
    while waiting:
        layer = waiting.pop()
        tensors = [layer.get_input(i) for i in range(layer.num_inputs)]
        for made in [maker[t.name] for t in tensors if t is not None and t.name in maker]:
            if made.name not in before:
                before.add(made.name)
                waiting.append(made)
    return [layer for layer in layers if layer.name not in before]


def _keep_full_precision(api: Api, layer: Layer) -> None:
    # The type of these three is what they are, not how they compute.
    if layer.type in (api.LayerType.CONSTANT, api.LayerType.CAST, api.LayerType.SHAPE):
        return
    inputs = [layer.get_input(i) for i in range(layer.num_inputs)]
    outputs = [layer.get_output(i) for i in range(layer.num_outputs)]
    if any(t is not None and t.dtype == api.float32 for t in (*inputs, *outputs)):
        layer.precision = api.float32
        for index, tensor in enumerate(outputs):
            if tensor.dtype == api.float32:
                layer.set_output_type(index, api.float32)
