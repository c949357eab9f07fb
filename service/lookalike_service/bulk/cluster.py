"""Ray: one on this machine that ends with the command, or a cluster that is there; and the job that it runs."""

from __future__ import annotations

import logging
import os
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import grpc

from lookalike_service.bulk.embedding import Job, PartEmbedder
from lookalike_service.errors import StartupError

__all__ = ["embedded_parts", "refuse_absent", "running"]

PROBE_SECONDS: Final = 5.0
START_TRIES: Final = 3
# Objects of Ray are only the numbers of parts: photographs go from where they lie to Triton, vectors into the folder.
LOCAL_OBJECTS: Final = 128 * 1024 * 1024
# Read when Ray is imported. Ray runs whatever reaches its ports, so on one machine they stay on the loopback address.
LOCAL_ONLY: Final = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
# Ray's own processes warn of what Ray Data does as it is meant to; what goes wrong comes as an exception all the same.
QUIET: Final = {"RAY_BACKEND_LOG_LEVEL": "fatal", "RAY_USAGE_STATS_ENABLED": "0"}
# Whoever asks for a part after the end shall not start another Ray by that.
ENDING: Final = {"RAY_ENABLE_AUTO_CONNECT": "0"}


def refuse_absent(address: str) -> None:
    """Raises StartupError when nothing answers at a cluster's address within seconds.

    Ray itself would wait for a minute. `address` is host:port, ray://host:port, or auto for the cluster of this node.
    """
    if address in ("", "auto"):
        return
    with grpc.insecure_channel(address.removeprefix("ray://")) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=PROBE_SECONDS)
        except grpc.FutureTimeoutError as error:
            raise StartupError(
                f"there is no Ray cluster at {address}: nothing answers there within {PROBE_SECONDS:g} s; start one "
                "(ray start --head --port 6379), give the address of another one, or leave --address out to work on "
                "this machine alone"
            ) from error


@contextmanager
def running(address: str) -> Iterator[int]:
    """Join the cluster at `address`, or start one on this machine; gives its number of CPUs. Raises StartupError."""
    for name, value in (QUIET | ENDING | ({} if address else LOCAL_ONLY)).items():
        os.environ.setdefault(name, value)
    _join(address) if address else _start()
    import ray

    try:
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        yield max(1, int(resources.get("CPU", 1)))
    finally:
        ray.shutdown()


def _join(address: str) -> None:
    import ray

    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # Ray raises whatever it likes, Exception itself among it
        raise StartupError(
            f"the Ray cluster at {address} cannot be joined ({_first_line(error)}); its Ray and Python must be ours "
            f"({ray.__version__}, {platform.python_version()}), and its token, if it has one, must be in "
            "RAY_AUTH_TOKEN with RAY_AUTH_MODE=token"
        ) from error


def _start() -> None:
    """Ray gives its own processes half a minute, which a busy machine can use up: the next try is mostly quick."""
    import ray

    for tries_left in reversed(range(START_TRIES)):
        try:
            ray.init(
                address="local",
                include_dashboard=False,
                object_store_memory=LOCAL_OBJECTS,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
            return
        except Exception as error:
            ray.shutdown()
            if not tries_left:
                raise StartupError(
                    f"Ray cannot be started on this machine ({_first_line(error)}), tried {START_TRIES} times; its "
                    "logs are in /tmp/ray/session_latest/logs"
                ) from error


def embedded_parts(job: Job, parts: Sequence[int], *, workers: int) -> Iterator[int]:
    """Have these parts embedded by `workers` processes, and yield each one's number as soon as its file is there.

    Ray Data replaces a lost worker and gives its part to another one, as often as it takes. Raises StartupError when a
    part cannot be had.
    """
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    size = min(workers, len(parts))
    rows = ray.data.from_items([{"part": part} for part in parts], override_num_blocks=len(parts)).map_batches(
        PartEmbedder,
        batch_size=1,
        batch_format="numpy",
        fn_constructor_args=(job,),
        compute=ray.data.ActorPoolStrategy(size=size),
        num_cpus=1,
    )
    try:
        for row in rows.iter_rows():
            yield _part(row)
    except ray.exceptions.RayError as error:
        raise StartupError(
            f"the job on Ray failed ({_reason(error)}); every node needs lookalike[bulk] of this version. What is done "
            "stays, run the command again"
        ) from error


def _part(row: dict[str, Any]) -> int:
    if row["problem"]:
        raise StartupError(f"{row['problem']}; what is done stays, run the command again")
    return int(row["part"])


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # The last line of a remote traceback says what it was.
    return lines[-1] if lines else type(error).__name__
