"""The served pipeline without a server: the same glue and the same graphs, called one after the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from support_glue import load_glue

__all__ = ["DirectPipeline"]

Arrays = dict[str, npt.NDArray[Any]]
Garments = Any  # of a module that is loaded by its path
_BETWEEN = ("pixels", "letterbox", "frame", "boxes", "scores", "classes", "crops")


class DirectPipeline:
    """Runs a model repository in this process; what the ensembles answer must be what this answers."""

    def __init__(self, repository: Path, *, threads: int = 1, spinning: bool = True) -> None:
        """`threads` work within a graph; with `spinning` they wait for each other without giving up their cores."""
        self._decoding, self._cropping = load_glue("decode", "decoding"), load_glue("crop", "cropping")
        self._decode, self._crop = (_parameters(repository / stage) for stage in ("decode", "crop"))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
        options.log_severity_level = 3
        self._sessions = {
            stage: onnxruntime.InferenceSession(repository / stage / "1" / "model.onnx", options)
            for stage in ("detect", "keypoints", "segment", "embed")
        }

    def find(
        self,
        image: bytes,
        *,
        regions: npt.NDArray[np.float32] | None = None,
        options: tuple[float, float] = (0.0, 0.0),
    ) -> Arrays:
        """Answer every output of the ensembles for one encoded photo, or for the caller's regions on it."""
        followed = self.follow(image, regions=regions, options=options)
        return {name: array for name, array in followed.items() if name not in _BETWEEN}

    def follow(
        self,
        image: bytes,
        *,
        regions: npt.NDArray[np.float32] | None = None,
        options: tuple[float, float] = (0.0, 0.0),
    ) -> Arrays:
        """The same, and beside it what the stages hand to each other."""
        limits = self._decoding.Limits(
            max_bytes=int(self._decode["max_bytes"]),
            max_pixels=int(self._decode["max_pixels"]),
            longest_side=int(self._decode["longest_side"]),
        )
        pixels = self._decoding.decode(image, limits=limits)
        found, garments = self._chosen(pixels, options) if regions is None else ({}, self._cropping.given(regions))
        crops, crop_box = self._cropping.cut(
            pixels, garments, size=int(self._crop["crop_size"]), context=float(self._crop["context"])
        )
        keypoints, mask = self._run("keypoints", crops=crops), self._run("segment", crops=crops)
        return {
            "pixels": pixels,
            **found,
            "crops": crops,
            "crop_box": crop_box,
            "garment_box": garments.boxes,
            "garment_score": garments.scores,
            "garment_class": garments.classes,
            "source": garments.sources,
            **keypoints,
            **mask,
            **self._run("embed", crops=crops, **keypoints, **mask),
        }

    def _chosen(self, pixels: npt.NDArray[np.uint8], options: tuple[float, float]) -> tuple[Arrays, Garments]:
        square, frame = self._decoding.letterbox(pixels, size=int(self._decode["letterbox_size"]))
        rows = {name: array[0] for name, array in self._run("detect", letterbox=square).items()}
        wanted = self._cropping.Options.read(
            np.array(options, np.float32),
            default_min_score=float(self._crop["default_min_score"]),
            default_max_garments=int(self._crop["default_max_garments"]),
        )
        chosen = self._cropping.detected(**rows, frame=frame[0], options=wanted)
        return {"letterbox": square, "frame": frame, **rows}, chosen

    def _run(self, stage: str, **inputs: npt.NDArray[Any]) -> Arrays:
        session = self._sessions[stage]
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, inputs), strict=True))


def _parameters(model: Path) -> dict[str, str]:
    config = text_format.Parse((model / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())
    return {key: value.string_value for key, value in config.parameters.items()}
