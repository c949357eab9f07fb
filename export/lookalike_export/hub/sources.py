"""Gets a model's files, from the hub by name or from a folder, and opens what transformers can open."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lookalike_export.hub.errors import HubError
from lookalike_export.hub.pictures import Preparation

__all__ = ["Source", "open_source"]

Config = dict[str, Any]
"""A parsed JSON file."""

_SMALL = ("*.json", "*.txt", "*.model")
_WEIGHTS = (("model*.safetensors",), ("pytorch_model*.bin",))
_OPEN_CLIP_WEIGHTS = (("open_clip_model.safetensors",), ("open_clip_pytorch_model.bin",))


@dataclass(frozen=True, slots=True)
class Source:
    """A model as it was asked for, and the folder that its files lie in."""

    name: str
    folder: Path

    @property
    def open_clip(self) -> bool:
        """Whether the weights are named as OpenCLIP names them; `config.json` may pretend otherwise."""
        return (self.folder / "open_clip_config.json").exists()

    @property
    def kind(self) -> str:
        """What transformers calls the architecture, such as "yolos"."""
        return str(self.read("config.json").get("model_type", ""))

    def read(self, file: str) -> Config:
        """A JSON file of the model; raises HubError where it is missing or broken."""
        try:
            parsed = json.loads((self.folder / file).read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise HubError(f"{self.name} has no {file}; it is no model that this command can read") from error
        except ValueError as error:
            raise HubError(f"{self.folder / file} is not JSON: {error}") from error
        if not isinstance(parsed, dict):
            raise HubError(f"{self.folder / file} holds no JSON object")
        return parsed

    def check_kind(self, kinds: Sequence[str], *, purpose: str) -> None:
        """Raises HubError unless the architecture is one of `kinds`."""
        if self.kind not in kinds:
            raise HubError(
                f"{self.name} is a model of the type {self.kind or '(none)'}; "
                f"for {purpose} take one of {', '.join(kinds)}"
            )

    def open(self, architecture: type[Any]) -> Any:  # noqa: ANN401 - transformers' classes have no common useful type
        """The network with all its weights, fp32; raises HubError where weights are missing."""
        try:
            network, report = architecture.from_pretrained(
                self.folder, dtype="float32", attn_implementation="eager", output_loading_info=True
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise HubError(f"{self.name} cannot be opened as {architecture.__name__}: {error}") from error
        if absent := sorted(report["missing_keys"]) + sorted(map(str, report["mismatched_keys"])):
            # transformers fills gaps with random numbers, which would serve without a word.
            raise HubError(f"{self.name} lacks {len(absent)} weights of {architecture.__name__}, {absent[0]} for one")
        return network.eval()

    def preparation(self, *, size: int = 0) -> Preparation:
        """What the preprocessor does to a picture; `size` in pixels overrides the side of its square."""
        steps = self._preprocessor()
        scaled = bool(steps.get("do_normalize", True))
        mean, deviation = (steps.get(key) if scaled else default for key, default in _UNSCALED)
        if not mean or not deviation:
            raise HubError(f"the preprocessor of {self.name} gives no image_mean and image_std")
        return Preparation(size or _side(steps, self.name), tuple(mean), tuple(deviation))

    def _preprocessor(self) -> Config:
        if not (self.folder / "preprocessor_config.json").exists() and (self.folder / "processor_config.json").exists():
            return dict(self.read("processor_config.json").get("image_processor", {}))
        return self.read("preprocessor_config.json")


_UNSCALED = (("image_mean", (0.0, 0.0, 0.0)), ("image_std", (1.0, 1.0, 1.0)))


def open_source(name: str, *, revision: str | None = None) -> Source:
    """A folder as it is, or a hub model by name (`owner/model`), downloaded into the hub's own cache.

    Raises HubError for a wrong name, a model that asks for a login, and a hub that cannot be reached.
    """
    if Path(name).is_dir():
        return Source(name, Path(name))
    if not re.fullmatch(r"[\w-][\w.-]*(/[\w.-]+)?", name):
        raise HubError(f"there is no folder {name}, and a model of the hub is named owner/model")
    source = Source(name, _download(name, revision, _SMALL))
    for patterns in _OPEN_CLIP_WEIGHTS if source.open_clip else _WEIGHTS:
        if any(found.match(pattern) for pattern in patterns for found in _download(name, revision, patterns).iterdir()):
            return source
    raise HubError(f"{name} holds no weights for PyTorch; look for a variant with model.safetensors")


def _download(name: str, revision: str | None, patterns: Sequence[str]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(patterns)))
    except GatedRepoError as error:
        raise HubError(
            f"{name} is only for those who accepted its terms: accept them on its page, then `hf auth login`"
        ) from error
    except RevisionNotFoundError as error:
        raise HubError(f"{name} has no revision {revision}") from error
    except RepositoryNotFoundError as error:
        raise HubError(f"the hub has no model {name}, or only for those who log in; check the spelling") from error
    except (LocalEntryNotFoundError, OSError) as error:
        raise HubError(
            f"{name} cannot be fetched, for the hub is not reached from here; where it is, "
            f"`hf download {name} --local-dir FOLDER`, bring the folder over and give it in place of the name"
        ) from error


def _side(steps: Mapping[str, Any], name: str) -> int:
    """The side of the square for `size` in each of its spellings: a number, height and width, or a shortest edge."""
    size = steps.get("crop_size") if steps.get("do_center_crop") else steps.get("size")
    if isinstance(size, Mapping):
        size = size.get("shortest_edge") or size.get("height")
    if not isinstance(size, int):
        raise HubError(f"the preprocessor of {name} gives no size that is understood; say one with --size")
    return size
