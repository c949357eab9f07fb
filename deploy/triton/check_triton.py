"""Ask Triton, inside its container, for a real answer: a dead Python step still counts as ready on 24.10.

Exits 0 when every served ensemble `garments_<v>` turns a small picture into vectors, or is merely too busy to. A step
whose process died never comes back by itself, and compose restarts only what has ended: with --end PID such a server
is ended. Runs on the image's own Python, so it needs nothing but the standard library and Pillow.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import signal
import sys
import urllib.error
import urllib.request
from typing import Any

from PIL import Image

# Shorter than the health check's own timeout, so that the reason can be printed.
TIMEOUT_SECONDS = 8.0
ENSEMBLE = re.compile(r"garments_\d+")
# A full queue is no illness: a restart would only add to the load.
BUSY = re.compile(r"maximum queue size|timeout expired", re.IGNORECASE)
# What 24.10 answers, for ever, once the process of a Python step is gone.
DEAD_STEP = re.compile(r"Stub process .* is not healthy")


class HealthError(Exception):
    """Why the server cannot do its work."""


def check(address: str) -> None:
    """Raise HealthError unless the server at `address` (http://host:port) is ready and all its ensembles answer."""
    _ask(f"{address}/v2/health/ready")
    index = json.loads(_ask(f"{address}/v2/repository/index", b"{}"))
    ensembles = sorted({model["name"] for model in index if ENSEMBLE.fullmatch(model["name"])})
    if not ensembles:
        raise HealthError("the model repository holds no ensemble garments_<version>")
    for name in ensembles:
        _check_ensemble(address, name)


def _check_ensemble(address: str, name: str) -> None:
    try:
        answer = json.loads(_ask(f"{address}/v2/models/{name}/infer", json.dumps(_request()).encode()))
    except HealthError as error:
        if BUSY.search(str(error)):
            return
        raise
    vectors: list[float] = next((output["data"] for output in answer["outputs"] if output["name"] == "embedding"), [])
    if not vectors:
        raise HealthError(f"{name} answered without vectors")


def _request() -> dict[str, Any]:
    picture = io.BytesIO()
    Image.new("RGB", (64, 64), "grey").save(picture, "JPEG")
    data = list(picture.getvalue())
    return {
        "inputs": [
            {"name": "image", "shape": [len(data)], "datatype": "UINT8", "data": data},
            {"name": "options", "shape": [2], "datatype": "FP32", "data": [0.0, 0.0]},
        ]
    }


def _ask(url: str, body: bytes | None = None) -> bytes:
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
            content: bytes = response.read()
            return content
    except urllib.error.HTTPError as error:
        text = error.read().decode(errors="replace")
        raise HealthError(f"{url}: {error.code} {text}") from error
    except OSError as error:
        raise HealthError(f"{url}: {error}") from error


def main(arguments: list[str]) -> int:
    """Check the server that the command line names, by default the one beside us; 1 means that it is not well."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", default="http://127.0.0.1:8000", help="Triton's HTTP, http://host:port")
    parser.add_argument("--end", type=int, metavar="PID", help="the process to end when a step is dead")
    options = parser.parse_args(arguments)
    try:
        check(options.address)
    except HealthError as error:
        print(error, file=sys.stderr)
        if options.end is not None and DEAD_STEP.search(str(error)):
            os.kill(options.end, signal.SIGTERM)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
