"""The crop step: moves tensors between Triton and the pure functions of cropping.py."""

from __future__ import annotations

import json
from typing import Any

import cv2
import triton_python_backend_utils as pb_utils
from cropping import CropError, Garments, Options, cut, detected, given

# Triton's Python API brings no types.
Request = Any
Response = Any
Array = Any


class TritonPythonModel:
    """pixels, frame, options and either detections or regions -> one crop per garment."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the defaults of the options and the geometry of crops from the parameters of config.pbtxt."""
        config = json.loads(args["model_config"])
        values = {key: value["string_value"] for key, value in config["parameters"].items()}
        self._default_min_score = float(values["default_min_score"])
        self._default_max_garments = int(values["default_max_garments"])
        self._size = int(values["crop_size"])
        self._context = float(values["context"])
        cv2.setNumThreads(1)

    def execute(self, requests: list[Request]) -> list[Response]:
        """Answer each request alone: a bad region fails only its own sender."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Request) -> Response:
        try:
            return self._cropped(request)
        except CropError as error:
            return _failure(str(error), pb_utils.TritonError.INVALID_ARG)
        except Exception as error:
            pb_utils.Logger.log_error(f"crop failed: {error!r}")
            return _failure("crop failed", pb_utils.TritonError.INTERNAL)

    def _cropped(self, request: Request) -> Response:
        garments = self._chosen(request)
        crops, squares = cut(_array(request, "pixels"), garments, size=self._size, context=self._context)
        tensors = {
            "crops": crops,
            "crop_box": squares,
            "garment_box": garments.boxes,
            "garment_score": garments.scores,
            "garment_class": garments.classes,
            "source": garments.sources,
        }
        wanted = request.requested_output_names()
        return pb_utils.InferenceResponse([pb_utils.Tensor(name, tensors[name]) for name in wanted])

    def _chosen(self, request: Request) -> Garments:
        options = Options.read(
            _array(request, "options"),
            default_min_score=self._default_min_score,
            default_max_garments=self._default_max_garments,
        )
        regions = _array(request, "regions")
        if regions is not None:
            return given(regions)
        boxes, scores, classes = (_array(request, name)[0] for name in ("boxes", "scores", "classes"))
        return detected(boxes, scores, classes, frame=_array(request, "frame")[0], options=options)


def _array(request: Request, name: str) -> Array:
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    return None if tensor is None else tensor.as_numpy()


def _failure(message: str, code: int) -> Response:
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, code))
