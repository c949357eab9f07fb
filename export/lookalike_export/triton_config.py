"""What Triton's configuration says of a stage: its tensors, its batches and the file that it serves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

__all__ = ["ConfigMismatch", "StageConfig", "Tensor", "compare", "read_config", "stage_configs"]

# This module and tensorrt.py also run on the Python 3.10 of NVIDIA's containers, which have neither torch nor onnx.


class ConfigMismatch(ValueError):
    """A graph or configuration that Triton would refuse; the message names file, tensor and both sides."""


@dataclass(frozen=True)
class Tensor:
    """Type as Triton names it, without TYPE_, and sizes with the batch in front; -1 is any size."""

    kind: str
    sizes: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.kind} [{', '.join(str(size) for size in self.sizes)}]"


Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class StageConfig:
    """One configuration of a stage; `served` is the file in its version folder that Triton opens."""

    path: Path
    served: Path
    max_batch_size: int
    preferred_batch_sizes: tuple[int, ...]
    inputs: Tensors
    outputs: Tensors

    @property
    def graph(self) -> Path:
        """The ONNX file that is served, or that what is served is made from."""
        return self.served if self.served.suffix == ".onnx" else self.exported

    @property
    def exported(self) -> Path:
        """The file that the export writes: full precision, for every target."""
        return self.served.with_name("model.onnx")


def stage_configs(repository: Path, stage: str) -> list[StageConfig]:
    """`config.pbtxt` first, then the configurations for other targets; raises ConfigMismatch when there is none."""
    folder = repository / stage
    return [read_config(path, folder) for path in (folder / "config.pbtxt", *sorted(folder.glob("configs/*.pbtxt")))]


def read_config(path: Path, folder: Path) -> StageConfig:
    """Read one configuration of the model in `folder`; raises ConfigMismatch where it is missing or does not parse."""
    try:
        message = text_format.Parse(path.read_text(), model_config_pb2.ModelConfig())
    except FileNotFoundError:
        raise ConfigMismatch(f"{path} is missing; {folder.parent} must be a model repository of Triton") from None
    except text_format.ParseError as error:
        raise ConfigMismatch(f"{path} is no configuration of Triton: {error}") from error
    batch = (-1,) if message.max_batch_size > 0 else ()
    kinds = model_config_pb2.DataType

    def tensors(side: str) -> Tensors:
        return {
            t.name: Tensor(kinds.Name(t.data_type).removeprefix("TYPE_"), (*batch, *t.dims))
            for t in getattr(message, side)
        }

    version = max(message.version_policy.specific.versions, default=1)
    return StageConfig(
        path=path,
        served=folder / str(version) / (message.default_model_filename or "model.onnx"),
        max_batch_size=message.max_batch_size,
        preferred_batch_sizes=tuple(message.dynamic_batching.preferred_batch_size),
        inputs=tensors("input"),
        outputs=tensors("output"),
    )


def compare(graph: Path, config: StageConfig, *, inputs: Tensors, outputs: Tensors) -> None:
    """Raise ConfigMismatch unless the graph's tensors are those of its configuration.

    A size that the graph leaves open (-1) fits any; one that it has fixed must be the configured one. Outputs that the
    configuration does not name are nobody's business; an input that it does not name would never be fed.
    """
    for side, actual, configured in (("input", inputs, config.inputs), ("output", outputs, config.outputs)):
        for name, wanted in configured.items():
            if name not in actual:
                has = ", ".join(f"{known} {tensor}" for known, tensor in actual.items()) or "none"
                raise ConfigMismatch(
                    f"{graph} has no {side} {name}, but {config.path} says {name} {wanted}; its {side}s: {has}"
                )
            if not _fits(actual[name], wanted):
                raise ConfigMismatch(f"{graph}: {side} {name} is {actual[name]}, but {config.path} says {wanted}")
        if side == "input" and (extra := sorted(set(actual) - set(configured))):
            raise ConfigMismatch(f"{graph} also wants the {side} {', '.join(extra)}, which {config.path} does not name")


def _fits(actual: Tensor, wanted: Tensor) -> bool:
    return (
        actual.kind == wanted.kind
        and len(actual.sizes) == len(wanted.sizes)
        and all(a in (-1, w) for a, w in zip(actual.sizes, wanted.sizes, strict=True))
    )
