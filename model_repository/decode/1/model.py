"""The decode step: moves tensors between Triton and the pure functions of decoding.py."""

from __future__ import annotations

import json
import os
import warnings
from typing import Any

import cv2
import numpy as np
import triton_python_backend_utils as pb_utils
from confinement import deny_network_and_processes, limit_memory, limit_time
from decoding import DecodeError, Limits, decode, letterbox

# Triton's Python API brings no types.
Request = Any
Response = Any

_GPU = "/dev/nvidiactl"


class TritonPythonModel:
    """image -> pixels, letterbox, frame."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the limits from the parameters of config.pbtxt."""
        config = json.loads(args["model_config"])
        values = {key: int(value["string_value"]) for key, value in config["parameters"].items()}
        self._limits = Limits(
            max_bytes=values["max_bytes"], max_pixels=values["max_pixels"], longest_side=values["longest_side"]
        )
        self._letterbox_size = values["letterbox_size"]
        # Pillow warns of every damaged tag; anybody could fill the log with them.
        warnings.simplefilter("ignore")
        cv2.setNumThreads(1)
        self._cpu_seconds = values.get("cpu_seconds", 0)
        # CUDA maps far more than it uses, and Triton may use it in this process, too.
        self._confine(0 if os.path.exists(_GPU) else values.get("memory_mebibytes", 0))

    def _confine(self, memory_mebibytes: int) -> None:
        """Give up what decoding does not need. What the machine does not allow is said, and no reason not to serve."""
        for what, give_up in (
            ("network and processes", deny_network_and_processes),
            ("memory", lambda: limit_memory(memory_mebibytes)),
            ("time", lambda: limit_time(self._cpu_seconds)),
        ):
            try:
                give_up()
            except (OSError, ValueError) as error:
                self._cpu_seconds = 0 if what == "time" else self._cpu_seconds
                pb_utils.Logger.log_warn(f"decode runs without its bound on {what}: {error}")

    def execute(self, requests: list[Request]) -> list[Response]:
        """Answer each request alone: a broken photo fails only its own sender."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Request) -> Response:
        try:
            return self._decoded(request)
        except DecodeError as error:
            return _failure(str(error), pb_utils.TritonError.INVALID_ARG)
        except Exception as error:
            pb_utils.Logger.log_error(f"decode failed: {error!r}")
            return _failure("decode failed", pb_utils.TritonError.INTERNAL)

    def _decoded(self, request: Request) -> Response:
        limit_time(self._cpu_seconds)
        image = pb_utils.get_input_tensor_by_name(request, "image").as_numpy()
        pixels = decode(image.tobytes(), limits=self._limits)
        square, frame = letterbox(pixels, size=self._letterbox_size)
        tensors = {"pixels": pixels, "letterbox": square, "frame": frame}
        # The ensemble that is told the regions never asks for the letterbox.
        wanted = request.requested_output_names()
        return pb_utils.InferenceResponse([pb_utils.Tensor(name, np.asarray(tensors[name])) for name in wanted])


def _failure(message: str, code: int) -> Response:
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, code))
