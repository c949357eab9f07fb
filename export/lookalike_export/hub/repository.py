"""What follows from a new graph in a model repository: configurations, label files and ensembles.

Triton gives all versions of a model one configuration, and a vector's size stands in it. So a hub model becomes a
model of its own (`embed_2`), the ensembles of a new embedding version name it, and what served before stays as it is.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lookalike_export.graph_check import check_graph
from lookalike_export.hub.errors import HubError
from lookalike_export.hub.pbtxt import Ensemble, Model
from lookalike_export.hub.versions import restamped
from lookalike_export.triton_config import stage_configs

__all__ = ["Repository", "Shape"]

_ENSEMBLES = ("garments", "garments_in_regions")


@dataclass(frozen=True, slots=True)
class Shape:
    """What an encoder says: the length of its vectors, and the labels of the heads that it has."""

    size: int
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class Repository:
    """A folder that Triton serves.

    The `add_` methods take the graph from where it lies and raise HubError, or ConfigMismatch where Triton would
    refuse it; then the repository is as it was. They return the folders that they wrote.
    """

    def __init__(self, path: Path) -> None:
        """Raises HubError where the folder holds no pair of ensembles."""
        self.path = path
        if not self.versions():
            raise HubError(f"{path} holds no ensembles garments_<version>; give the model repository with --repository")

    def versions(self) -> list[int]:
        """The embedding versions that have both ensembles, in order."""
        found = [re.fullmatch(r"garments_(\d+)", folder.name) for folder in self.path.glob("garments_*")]
        numbers = sorted(int(each[1]) for each in found if each)
        return [number for number in numbers if all(self._config(f"{e}_{number}").exists() for e in _ENSEMBLES)]

    def choose_version(self, wanted: int, *, extend: bool) -> int:
        """The embedding version to make; 0 asks for the next. Raises HubError rather than change one by accident."""
        version = wanted or self.versions()[-1] + 1
        if version < 0:
            raise HubError("an embedding version is 1 or more")
        if version in self.versions() and not extend:
            raise HubError(
                f"embedding version {version} exists in {self.path}, and vectors made with it would fit no longer; "
                "leave --version out to make the next one, or say --extend if nothing was embedded with it yet"
            )
        return version

    def add_detector(self, graph: Path) -> list[Path]:
        """Serve `graph` as the detector of every embedding version: boxes may change without new vectors."""
        number = 2
        while (self.path / f"detect_{number}").exists():
            number += 1
        ensembles = {f"garments_{version}": self._ensemble(f"garments_{version}") for version in self.versions()}
        model = self._model(next(iter(ensembles.values())).step_with("boxes")).renamed(f"detect_{number}")
        changed = {name: each.with_step("boxes", model.name) for name, each in ensembles.items()}
        return self._write([(model, graph)], changed)

    def add_segmenter(self, graph: Path, version: int) -> list[Path]:
        """Serve `graph` as the segment stage of embedding version `version`, with the encoder of the one before."""
        ensembles = self._ensembles_for(version)
        first = next(iter(ensembles.values()))
        model = self._model(first.step_with("mask")).renamed(f"segment_{version}")
        models = [(model, graph)]
        encoder = self._model(first.step_with("embedding"))
        if encoder.name != f"embed_{version}":
            # The version of the vectors is a constant of the encoder's graph.
            stamped = restamped(self.path / encoder.name / str(first.version_of("embedding")) / "model.onnx", version)
            graph_beside = graph.with_name("embed.onnx")
            graph_beside.write_bytes(stamped)
            encoder = encoder.renamed(f"embed_{version}")
            models.append((encoder, graph_beside))
        changed = {
            name: each.with_step("mask", model.name).with_step("embedding", encoder.name)
            for name, each in ensembles.items()
        }
        return self._write(models, changed)

    def add_embedder(self, graph: Path, version: int, shape: Shape) -> list[Path]:
        """Serve `graph` as the encoder of embedding version `version`, whose answers have another shape."""
        ensembles = self._ensembles_for(version)
        base = self._model(next(iter(ensembles.values())).step_with("embedding"))
        model = base.renamed(f"embed_{version}").with_heads(shape.size, shape.labels)
        changed = {
            name: each.with_step("embedding", model.name).with_heads(shape.size, shape.labels)
            for name, each in ensembles.items()
        }
        return self._write([(model, graph)], changed)

    def _ensembles_for(self, version: int) -> dict[str, Ensemble]:
        """Both ensembles of `version`: its own, else those of the version before under a new name."""
        older = [number for number in self.versions() if number <= version] or self.versions()
        return {f"{e}_{version}": self._ensemble(f"{e}_{older[-1]}").of_version(version) for e in _ENSEMBLES}

    def _ensemble(self, name: str) -> Ensemble:
        return Ensemble(name, self._config(name).read_text(encoding="utf-8"))

    def _model(self, name: str) -> Model:
        folder = self.path / name
        texts = {
            file.relative_to(folder): file.read_text(encoding="utf-8")
            for pattern in ("*.pbtxt", "configs/*.pbtxt", "labels/*.txt")
            for file in folder.glob(pattern)
        }
        if Path("config.pbtxt") not in texts:
            raise HubError(f"{folder} has no config.pbtxt to follow, though an ensemble names it")
        return Model(name, texts)

    def _config(self, model: str) -> Path:
        return self.path / model / "config.pbtxt"

    def _write(self, models: list[tuple[Model, Path]], ensembles: Mapping[str, Ensemble]) -> list[Path]:
        """Lay everything out beside the graphs, hold it against what Triton will ask, and only then move it in."""
        laid_out = [_laid_out(model, graph) for model, graph in models]
        written = []
        for fresh in laid_out:
            folder = self.path / fresh.name
            if folder.exists():
                shutil.rmtree(folder)
            shutil.move(fresh, folder)  # the repository may be a volume of its own
            written.append(folder)
        for name, ensemble in ensembles.items():
            folder = self.path / name
            (folder / "1").mkdir(parents=True, exist_ok=True)
            (folder / "1" / ".gitkeep").touch()
            (folder / "config.pbtxt").write_text(ensemble.text, encoding="utf-8")
            written.append(folder)
        return written


def _laid_out(model: Model, graph: Path) -> Path:
    folder = graph.parent / model.name
    for file, text in model.texts.items():
        target = folder / file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    (folder / "1").mkdir()
    check_graph(graph.rename(folder / "1" / "model.onnx"), stage_configs(folder.parent, model.name))
    return folder
