"""One export of a hub model: files, stage, ONNX, and the repository around it, all or nothing."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import transformers

from lookalike_export.hub.build import Built, build_detector, build_embedder, build_segmenter
from lookalike_export.hub.embed import HEADS
from lookalike_export.hub.errors import HubError
from lookalike_export.hub.repository import Repository, Shape
from lookalike_export.hub.sources import Source, open_source
from lookalike_export.onnx_files import Report, export_stage

__all__ = ["export"]

# Protocol buffers end at 2 GiB, and a graph is traced in fp32.
_MOST_WEIGHTS = 500_000_000


def export(arguments: argparse.Namespace) -> Iterator[str]:
    """Do what the command line says and tell it line by line.

    Raises HubError, ParityError, ConfigMismatch; nothing was written then.
    """
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    repository = Repository(arguments.repository)
    version = 0
    if arguments.stage != "detect":
        version = repository.choose_version(arguments.version, extend=arguments.extend)
    source = open_source(arguments.name, revision=arguments.revision)
    built = _build(arguments, source, version)
    _check_size(source, built)
    with tempfile.TemporaryDirectory(dir=repository.path.parent, prefix=".hub-") as folder:
        report = export_stage(arguments.stage, built.stage, Path(folder) / "model.onnx")
        if arguments.stage == "detect":
            written = repository.add_detector(report.path)
        elif arguments.stage == "segment":
            written = repository.add_segmenter(report.path, version)
        else:
            written = repository.add_embedder(report.path, version, Shape(_size_of(built), built.labels))
    yield from _told(report, built, written, version)


def _build(arguments: argparse.Namespace, source: Source, version: int) -> Built:
    if arguments.stage == "detect":
        return build_detector(source, size=arguments.size, classes=arguments.classes)
    if arguments.stage == "segment":
        return build_segmenter(source, size=arguments.size, classes=arguments.classes)
    files = {head: getattr(arguments, head) for head in HEADS}
    return build_embedder(source, version=version, files=files)


def _check_size(source: Source, built: Built) -> None:
    weights = sum(parameter.numel() for parameter in built.stage.parameters())
    if weights > _MOST_WEIGHTS:
        raise HubError(
            f"{source.name} has {weights / 1e6:.0f} million weights here; an ONNX file holds 2 GB, which "
            f"{_MOST_WEIGHTS / 1e6:.0f} million fill, and files beside it are not supported: take a smaller variant"
        )


def _size_of(built: Built) -> int:
    from lookalike_export.served import example_inputs

    embedding = built.stage(*example_inputs("embed", batch=1).values())[0]
    return int(embedding.shape[1])


def _told(report: Report, built: Built, written: list[Path], version: int) -> Iterator[str]:
    apart = ", ".join(f"{name} {value:.2g}" for name, value in report.differences.items())
    yield f"{report.size / 1e6:.1f} MB of ONNX; largest difference from torch: {apart}"
    yield from (f"  {note}" for note in built.notes)
    yield from (f"  {head}: {len(labels)} labels" for head, labels in built.labels.items())
    yield from (f"wrote {path}" for path in written)
    if version:
        yield f"restart Triton, then bring your catalog to it while it serves: lookalike reindex {version}"
        yield f"(a catalog that is still empty begins with it by LOOKALIKE_EMBEDDING_VERSION={version})"
    else:
        yield "every embedding version now looks through this detector; restart Triton"
