"""The decode step: moves tensors between Triton and the pure functions of decoding.py."""

from __future__ import annotations

import json
import warnings
from typing import Any

import cv2
import numpy as np
import triton_python_backend_utils as pb_utils
from decoding import DecodeError, Limits, decode, letterbox
from PIL import Image

# Triton's Python API brings no types.
Request = Any
Response = Any


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
        # Our own limit is judged before Pillow opens anything; its default would warn below a larger setting.
        Image.MAX_IMAGE_PIXELS = None
        # Pillow warns of every damaged tag; anybody could fill the log with them.
        warnings.simplefilter("ignore")
        cv2.setNumThreads(1)

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
        image = pb_utils.get_input_tensor_by_name(request, "image").as_numpy()
        pixels = decode(image.tobytes(), limits=self._limits)
        square, frame = letterbox(pixels, size=self._letterbox_size)
        tensors = {"pixels": pixels, "letterbox": square, "frame": frame}
        # The ensemble that is told the regions never asks for the letterbox.
        wanted = request.requested_output_names()
        return pb_utils.InferenceResponse([pb_utils.Tensor(name, np.asarray(tensors[name])) for name in wanted])


def _failure(message: str, code: int) -> Response:
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, code))
