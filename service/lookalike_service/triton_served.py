"""What a Triton says that it serves: versions, words, and how many photos at once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tritonclient.grpc import model_config_pb2
from tritonclient.grpc.aio import InferenceServerClient

from lookalike_service.errors import ModelUnavailable
from lookalike_service.model import Vocabularies

__all__ = ["Served", "learn"]

# ModelConfig of Triton's protobufs; tritonclient brings no types.
Config = Any

# While one is looked at, the next one is on its way between the stages.
_FOR_EACH: Final = 2


@dataclass(frozen=True, slots=True)
class Served:
    """What a pair of ensembles and their steps say of themselves; `capacity` is in photos."""

    embedding_version: int
    embedding_size: int
    vocabularies: Vocabularies
    outputs: tuple[str, ...]
    detected: tuple[str, ...] = ()
    capacity: int = _FOR_EACH


async def learn(
    client: InferenceServerClient, models: Sequence[str], *, embedding_version: int, timeout: float
) -> Served:
    """Read it from the configurations of the ensembles `models`, which must agree, and of their steps.

    `timeout` in seconds is for each call. Raises ModelUnavailable, InferenceServerException.
    """
    configs = [(await client.get_model_config(model, client_timeout=timeout)).config for model in models]
    served = [_of_ensemble(config) for config in configs]
    if len(set(served)) > 1:
        raise ModelUnavailable(f"the ensembles {' and '.join(models)} disagree in parameters or outputs")
    if served[0].embedding_version != embedding_version or served[0].embedding_size < 1:
        raise ModelUnavailable(f"the ensemble {models[0]} does not serve vectors of version {embedding_version}")
    detected: tuple[str, ...] = ()
    places = []
    async for step, config in _steps(client, configs, timeout=timeout):
        places.append(_places(config))
        if "classes" in step.output_map:
            # The detector may be swapped, and its words with it.
            detected = _words(config, "garment")
    return Served(
        embedding_version=served[0].embedding_version,
        embedding_size=served[0].embedding_size,
        vocabularies=served[0].vocabularies,
        outputs=served[0].outputs,
        detected=detected,
        capacity=_FOR_EACH * min(places, default=1),
    )


async def _steps(
    client: InferenceServerClient, configs: Sequence[Config], *, timeout: float
) -> AsyncIterator[tuple[Any, Config]]:
    """Every step of the ensembles once, with the configuration of its model."""
    known = set()
    for step in (step for config in configs for step in config.ensemble_scheduling.step):
        version = str(step.model_version) if step.model_version > 0 else ""
        if (step.model_name, version) not in known:
            known.add((step.model_name, version))
            answer = await client.get_model_config(step.model_name, version, client_timeout=timeout)
            yield step, answer.config


def _places(config: Config) -> int:
    """How many photos its instances look at at once: one on a CPU, where a batch saves nothing, a batch on a GPU."""
    places = 0
    for group in config.instance_group:
        on_gpu = group.kind == model_config_pb2.ModelInstanceGroup.KIND_GPU
        each = max(1, config.max_batch_size) * max(1, len(group.gpus)) if on_gpu else 1
        places += each * max(1, group.count)
    return places or 1


def _of_ensemble(config: Config) -> Served:
    return Served(
        embedding_version=int(_parameter(config, "embedding_version") or 0),
        embedding_size=next((int(output.dims[-1]) for output in config.output if output.name == "embedding"), 0),
        vocabularies=Vocabularies(
            category=_words(config, "category"),
            pattern=_words(config, "pattern"),
            material=_words(config, "material"),
            colour=_words(config, "colour"),
        ),
        outputs=tuple(output.name for output in config.output),
    )


def _words(config: Config, name: str) -> tuple[str, ...]:
    words = _parameter(config, f"{name}_labels")
    return tuple(words.split(",")) if words else ()


def _parameter(config: Config, key: str) -> str:
    return str(config.parameters[key].string_value) if key in config.parameters else ""
