"""What each stage inside Triton did during a run, from the statistics that Triton keeps."""

from __future__ import annotations

import asyncio
import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Stage", "StatisticsMissing", "read_statistics", "stages_between"]

SECONDS = 5.0
COMPUTE = ("compute_input", "compute_infer", "compute_output")
# The way of a photo; what is not on it comes after it.
ORDER = ("decode", "detect", "crop", "keypoints", "segment", "embed")

Statistics = Mapping[tuple[str, str], Mapping[str, Any]]
"""Triton's counters since it started, by model and version."""


class StatisticsMissing(Exception):
    """No Triton told its statistics; the text says where they were looked for."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A model during a run: requests that succeeded and failed, milliseconds per success, items per execution.

    `total_ms` is from arrival to answer, `queue_ms` and `compute_ms` are parts of it. The times of an ensemble are the
    sums of its steps', also of steps that ran side by side.
    """

    model: str
    version: str
    requests: int
    failed: int
    total_ms: float
    queue_ms: float
    compute_ms: float
    mean_batch: float

    def to_json(self) -> dict[str, object]:
        """The stage as JSON can hold it."""
        return asdict(self)


async def read_statistics(address: str) -> Statistics:
    """Ask a Triton at `http://host:port`. Raises StatisticsMissing."""
    url = f"{address.rstrip('/')}/v2/models/stats"
    try:
        answer = await asyncio.to_thread(_fetch, url)
        return {(each["name"], each["version"]): each for each in answer["model_stats"]}
    except urllib.error.HTTPError as error:
        with error:
            problem = f"cannot be read (HTTP {error.code})"
    except (OSError, ValueError, http.client.HTTPException) as error:
        problem = f"cannot be read ({error.reason if isinstance(error, urllib.error.URLError) else error})"
    except (KeyError, TypeError):
        problem = "is no statistics of Triton's"
    raise StatisticsMissing(f"{url} {problem}; give Triton's HTTP address, such as http://127.0.0.1:8000")


def _fetch(url: str) -> Any:  # noqa: ANN401 - JSON of somebody else's
    with urllib.request.urlopen(url, timeout=SECONDS) as answer:
        return json.load(answer)


def stages_between(before: Statistics, after: Statistics) -> tuple[Stage, ...]:
    """The models that were used between two readings, in the order of a photo's way."""
    stages = [_stage(name, before.get(name, {}), counters) for name, counters in after.items()]
    return tuple(sorted((stage for stage in stages if stage.requests or stage.failed), key=_place))


def _place(stage: Stage) -> tuple[int, str]:
    return ORDER.index(stage.model) if stage.model in ORDER else len(ORDER), stage.model


def _stage(name: tuple[str, str], before: Mapping[str, Any], after: Mapping[str, Any]) -> Stage:
    def grown(*path: str) -> int:
        return _counter(after, path) - _counter(before, path)

    def mean_ms(*parts: str) -> float:
        return sum(grown("inference_stats", part, "ns") for part in parts) / 1e6 / max(requests, 1)

    requests = grown("inference_stats", "success", "count")
    executions = grown("execution_count")
    return Stage(
        *name,
        requests=requests,
        failed=grown("inference_stats", "fail", "count"),
        total_ms=mean_ms("success"),
        queue_ms=mean_ms("queue"),
        compute_ms=mean_ms(*COMPUTE),
        mean_batch=grown("inference_count") / executions if executions else 0.0,
    )


def _counter(counters: Mapping[str, Any], path: tuple[str, ...]) -> int:
    """JSON of protobuf leaves zeros out and may write large numbers as texts."""
    found: Any = counters
    for part in path:
        found = found.get(part, {})
    return int(found or 0)
