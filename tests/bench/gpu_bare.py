"""The stages' graphs without a server: torch on the device, and ONNX Runtime's providers, batch by batch."""

from __future__ import annotations

import statistics
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import onnxruntime
import torch
from google.protobuf import json_format, text_format
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from tritonclient.grpc import model_config_pb2

from bench.gpu_card import Card
from bench.gpu_plan import GpuPlan, Pace
from lookalike_export.graph_check import open_graph
from lookalike_export.served import STAGES, example_inputs, load_stage
from lookalike_service import embedded

__all__ = ["bare_graphs", "folded"]

Run = Callable[[], object]
Inputs = Mapping[str, Tensor]
BACKEND: Final = Path(embedded.__file__).parent / "backends" / "onnxruntime"
# A CPU has no fast half precision; a rehearsal takes the other one.
HALVES: Final = {"cuda": torch.float16, "cpu": torch.bfloat16}
CUDA, TENSORRT = "CUDAExecutionProvider", "TensorrtExecutionProvider"


def bare_graphs(
    repository: Path, card: Card, plan: GpuPlan, *, say: Callable[[str], None]
) -> dict[str, dict[str, dict[int, Pace] | str]]:
    """By stage and contender: a pace per batch, or why there is none. Weights are random: they do not change speed."""
    graphs: dict[str, dict[str, dict[int, Pace] | str]] = {}
    if card.kind == "cpu":
        # Threads that wait for each other in a loop stand still on a busy machine.
        torch.set_num_threads(1)
    for stage in STAGES:
        contenders = {**_torch_contenders(stage, card), **_runtime_contenders(repository / stage, card)}
        largest = _configuration(repository / stage)["max_batch_size"]
        graphs[stage] = {}
        for name, prepare in contenders.items():
            say(f"{stage}: {name}")
            graphs[stage][name] = _paces(prepare, stage, [b for b in plan.batches if b <= largest], plan)
    return graphs


def _paces(
    prepare: Callable[[], Callable[[Inputs], Run]], stage: str, batches: Sequence[int], plan: GpuPlan
) -> dict[int, Pace] | str:
    """A contender that cannot run here says so; the others are measured all the same."""
    try:
        ready = prepare()
        return {batch: Pace(batch, _median_ms(ready(example_inputs(stage, batch=batch)), plan)) for batch in batches}
    except Exception as error:
        return f"not measured: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


def _median_ms(run: Run, plan: GpuPlan) -> float:
    """Median over rounds of the mean run; `run` returns when its results are there."""
    for _ in range(3):
        run()
    begin = time.perf_counter()
    run()
    runs = max(1, round(plan.round_seconds / (time.perf_counter() - begin)))
    means = []
    for _ in range(plan.rounds):
        begin = time.perf_counter()
        for _ in range(runs):
            run()
        means.append(1000 * (time.perf_counter() - begin) / runs)
    return statistics.median(means)


def _torch_contenders(stage: str, card: Card) -> dict[str, Callable[[], Callable[[Inputs], Run]]]:
    def contender(*, half: bool, last: bool, graph: bool) -> Callable[[], Callable[[Inputs], Run]]:
        return lambda: _torch_ready(stage, card.kind, half=half, last=last, graph=graph)

    found = {
        "torch fp32": contender(half=False, last=False, graph=False),
        "torch fp32 channels_last": contender(half=False, last=True, graph=False),
        "torch fp16": contender(half=True, last=False, graph=False),
        "torch fp16 channels_last": contender(half=True, last=True, graph=False),
    }
    if card.kind == "cuda":
        found["torch fp16 CUDA graph"] = contender(half=True, last=False, graph=True)
        found["torch fp16 channels_last CUDA graph"] = contender(half=True, last=True, graph=True)
    return found


def _torch_ready(stage: str, device: str, *, half: bool, last: bool, graph: bool) -> Callable[[Inputs], Run]:
    layout = torch.channels_last if last else torch.contiguous_format
    module: Any = folded(load_stage(stage, None)).to(device)
    module.to(memory_format=layout)

    def ready(inputs: Inputs) -> Run:
        moved = [_placed(inputs[name], device, layout) for name in module.inputs]
        forward = _traced(module, moved, device, half=half)
        if graph:
            forward, moved = _recorded(forward, moved).replay, []

        @torch.inference_mode()
        def run() -> None:
            forward(*moved)
            if device == "cuda":
                torch.cuda.synchronize()

        return run

    return ready


def _placed(tensor: Tensor, device: str, layout: torch.memory_format) -> Tensor:
    return tensor.to(device, memory_format=layout) if tensor.dim() == 4 else tensor.to(device)


def folded(module: nn.Module) -> nn.Module:
    """Batch normalisations folded into their convolutions, as the exporter does it; the module itself is changed."""
    for sequence in [found for found in module.modules() if isinstance(found, nn.Sequential)]:
        for index in range(len(sequence) - 1):
            holder, norm = sequence[index], sequence[index + 1]
            convolution = getattr(holder, "conv", holder)
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                fused = fuse_conv_bn_eval(convolution.eval(), norm.eval())
                if convolution is holder:
                    sequence[index] = fused
                else:
                    holder.conv = fused
                sequence[index + 1] = nn.Identity()
    return module.eval()


@torch.no_grad()
def _traced(module: nn.Module, inputs: Sequence[Tensor], device: str, *, half: bool) -> Callable[..., Any]:
    """Without Python's own time, and constants where they belong; casts of weights are done once."""
    with (
        warnings.catch_warnings(),
        torch.autocast(device, HALVES[device], enabled=half, cache_enabled=False),
    ):
        warnings.simplefilter("ignore")
        jit: Any = torch.jit
        traced: Callable[..., Any] = jit.freeze(jit.trace(module, tuple(inputs), check_trace=False))
    return traced


@torch.inference_mode()
def _recorded(forward: Callable[..., Any], inputs: Sequence[Tensor]) -> Any:  # noqa: ANN401 - torch is untyped here
    cuda: Any = torch.cuda
    stream = cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            forward(*inputs)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        forward(*inputs)
    return graph


def _runtime_contenders(model: Path, card: Card) -> dict[str, Callable[[], Callable[[Inputs], Run]]]:
    graph = model / "1" / "model.onnx"
    if card.kind == "cpu":
        return {
            "onnxruntime cpu": lambda: _bound(open_graph(graph), "cpu"),
            "onnxruntime cpu, copies": lambda: _copying(open_graph(graph)),
        }
    tensorrt = _providers().gpu_providers(_configuration(model), device="0")
    cuda = [provider for provider in tensorrt if provider[0] != TENSORRT]
    recording = [(name, {**options, "enable_cuda_graph": "1"} if name == CUDA else options) for name, options in cuda]
    return {
        "onnxruntime cuda": lambda: _bound(_session(graph, cuda), "cuda"),
        "onnxruntime cuda CUDA graph": lambda: _bound(_session(graph, recording), "cuda"),
        "onnxruntime tensorrt fp16": lambda: _bound(_session(graph, tensorrt), "cuda"),
        "onnxruntime tensorrt fp16, copies": lambda: _copying(_session(graph, tensorrt)),
    }


def _session(graph: Path, providers: list[Any]) -> onnxruntime.InferenceSession:
    """As the served instances have it; what ONNX Runtime left out is an error here, not a slower figure."""
    onnxruntime.preload_dlls()
    if providers[0][0] == TENSORRT:
        __import__("tensorrt_libs")
        Path(providers[0][1]["trt_engine_cache_path"]).mkdir(parents=True, exist_ok=True)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(graph, options, providers=providers, enable_fallback=0)
    missing = [name for name, _ in providers if name not in session.get_providers()]
    if missing:
        raise RuntimeError(f"{', '.join(missing)} could not be loaded")
    return session


def _bound(session: onnxruntime.InferenceSession, device: str) -> Callable[[Inputs], Run]:
    """Inputs and outputs stay on the device."""

    def ready(inputs: Inputs) -> Run:
        binding = session.io_binding()
        # A number is a graph of its own; the first run, which gives the outputs their places, is not recorded.
        options, first = _numbered(len(next(iter(inputs.values())))), _numbered(-1)
        kept = {name: onnxruntime.OrtValue.ortvalue_from_numpy(t.numpy(), device, 0) for name, t in inputs.items()}
        for name, value in kept.items():
            binding.bind_ortvalue_input(name, value)
        for node in session.get_outputs():
            binding.bind_output(node.name, device)
        session.run_with_iobinding(binding, first)
        for node, value in zip(session.get_outputs(), binding.get_outputs(), strict=True):
            binding.bind_ortvalue_output(node.name, value)
        return lambda: (session.run_with_iobinding(binding, options), kept)

    return ready


def _numbered(graph: int) -> onnxruntime.RunOptions:
    options = onnxruntime.RunOptions()
    options.add_run_config_entry("gpu_graph_id", str(graph))
    return options


def _copying(session: onnxruntime.InferenceSession) -> Callable[[Inputs], Run]:
    """As the embedded backend runs it: from and to the memory of the host."""

    def ready(inputs: Inputs) -> Run:
        arrays = {name: tensor.numpy() for name, tensor in inputs.items()}
        return lambda: session.run(None, arrays)

    return ready


def _configuration(model: Path) -> dict[str, Any]:
    message = text_format.Parse((model / "configs" / "gpu.pbtxt").read_text(), model_config_pb2.ModelConfig())
    config: dict[str, Any] = json_format.MessageToDict(message, preserving_proto_field_name=True)
    return config


def _providers() -> ModuleType:
    """The module in which the served instances read their configuration."""
    if str(BACKEND) not in sys.path:
        sys.path.append(str(BACKEND))
    return __import__("execution_providers")
