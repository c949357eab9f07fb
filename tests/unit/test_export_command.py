"""The export command: what it refuses, what it writes, and what it remembers of the models."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import onnx
import pytest
import torch

from lookalike_export.__main__ import main
from lookalike_export.figures import JUDGED, FiguresError, check_not_worse, read_records, record_served
from lookalike_export.served import STAGES
from lookalike_export.triton_config import stage_configs
from support_glue import REPOSITORY
from support_models import copy_repository

MODEL = Path("segment", "1", "model.onnx")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return copy_repository(REPOSITORY, tmp_path / "repository")


@pytest.fixture
def arguments(tmp_path: Path, repository: Path) -> list[str]:
    return [
        *("--repository", str(repository)),
        *("--build", str(tmp_path / "build")),
        *("--records", str(tmp_path / "figures.json")),
    ]


def train(tmp_path: Path, *, miou: float) -> None:
    """Leave what a training of random weights would."""
    folder = tmp_path / "build" / "train" / "segment"
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    torch.save({"average": STAGES["segment"].build().state_dict()}, folder / "last.pt")
    (folder / "history.json").write_text(json.dumps([{"dice": 0.3, "miou": 0.1}, {"dice": 0.2, "miou": miou}]))


def rename_output(path: Path, name: str) -> None:
    model = onnx.load(path)
    for node in model.graph.node:
        node.output[:] = [name if output == model.graph.output[0].name else output for output in node.output]
    model.graph.output[0].name = name
    onnx.save(model, path)


def test_a_better_model_is_not_overwritten_unless_told_to(
    tmp_path: Path, repository: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (repository / MODEL).unlink()
    train(tmp_path, miou=0.7)
    assert main(["export", "segment", *arguments]) == 0
    record = read_records(tmp_path / "figures.json")["segment"]
    assert record.trained == {"miou": 0.7} and record.trained_by == "make train STAGE=segment"
    written = (repository / MODEL).read_bytes()

    train(tmp_path, miou=0.65)
    capsys.readouterr()
    assert main(["export", "segment", *arguments]) == 1
    message = capsys.readouterr().err
    assert "0.700" in message and "0.650" in message and "--force" in message
    assert str(repository / MODEL) in message and "history.json" in message

    assert main(["export", "segment", "--force", *arguments]) == 0
    assert read_records(tmp_path / "figures.json")["segment"].trained == {"miou": 0.65}
    assert (repository / MODEL).read_bytes() == written, "the same weights give the same file"


def test_a_model_of_which_nothing_is_known_is_not_overwritten(
    tmp_path: Path, repository: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    train(tmp_path, miou=0.9)
    before = (repository / MODEL).read_bytes()
    assert main(["export", "segment", *arguments]) == 1
    assert "nobody knows" in capsys.readouterr().err
    assert (repository / MODEL).read_bytes() == before


def test_a_training_that_was_never_judged_is_refused(tmp_path: Path) -> None:
    history = tmp_path / "history.json"
    history.write_text(json.dumps([{"dice": 0.2}]))
    model, records = tmp_path / "model.onnx", tmp_path / "figures.json"
    model.write_bytes(b"weights")
    for digest, expected in (
        (hashlib.sha256(b"other weights").hexdigest(), "nobody knows whether"),
        (hashlib.sha256(b"weights").hexdigest(), f"{history} holds no epoch with miou"),
    ):
        records.write_text(json.dumps({"segment": {"sha256": digest, "trained": {"miou": 0.5}}}))
        with pytest.raises(FiguresError, match=expected):
            check_not_worse("segment", model=model, history=history, records=records)


def test_the_committed_records_are_those_of_the_committed_models() -> None:
    records = read_records(REPOSITORY.parent / "export" / "figures.json")
    assert set(records) == set(STAGES)
    for stage, record in records.items():
        content = (REPOSITORY / stage / "1" / "model.onnx").read_bytes()
        assert record.sha256 == hashlib.sha256(content).hexdigest(), (
            f"{stage}: make export or record writes the figures"
        )
        assert JUDGED[stage][0] in record.trained


def test_records_that_are_no_records_are_named(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    path.write_text('{"segment": {"color": 1}}')
    with pytest.raises(FiguresError, match=r"figures\.json does not hold"):
        read_records(path)


def test_served_figures_are_taken_over_for_the_models_that_were_measured(tmp_path: Path, repository: Path) -> None:
    accuracy, records = tmp_path / "accuracy.json", tmp_path / "figures.json"
    with pytest.raises(FiguresError, match="make accuracy"):
        record_served(accuracy, repository=repository, records=records)
    accuracy.write_text(json.dumps({"segment_miou": 0.78, "items_top1": 0.9, "detect_ap50_by_class": {"top": 0.5}}))
    record_served(accuracy, repository=repository, records=records)
    known = read_records(records)
    assert known["segment"].served == {"segment_miou": 0.78} and known["embed"].served == {"items_top1": 0.9}
    assert known["detect"].served == {} and known["detect"].served_by == "make accuracy"
    later = accuracy.stat().st_mtime + 10
    os.utime(repository / MODEL, (later, later))
    with pytest.raises(FiguresError, match="is older than"):
        record_served(accuracy, repository=repository, records=records)


def test_an_untrained_or_unknown_stage_is_said_so(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "embed", *arguments]) == 1
    assert "embed not trained below" in capsys.readouterr().err
    assert main(["export", "embedd", *arguments]) == 1
    assert "there is no stage embedd" in capsys.readouterr().err


def test_nothing_is_written_that_triton_would_refuse(
    tmp_path: Path, repository: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    train(tmp_path, miou=0.7)
    (repository / MODEL).unlink()
    config = repository / "segment" / "configs" / "gpu.pbtxt"
    config.write_text(config.read_text().replace("dims: [ 56, 56 ]", "dims: [ 112, 112 ]"))
    assert main(["export", "segment", *arguments]) == 1
    message = capsys.readouterr().err
    assert f"{repository / MODEL}: output mask is UINT8 [-1, 56, 56]" in message
    assert f"{config} says UINT8 [-1, 112, 112]" in message
    assert not (repository / MODEL).exists() and not (tmp_path / "figures.json").exists()


def test_a_repository_that_fits_is_found_in_order(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--repository", str(repository)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(STAGES)


def test_a_graph_with_other_tensor_names_is_named_with_both_sides(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rename_output(repository / MODEL, "masks")
    assert main(["check", "--repository", str(repository)]) == 1
    message = capsys.readouterr().err
    config = repository / "segment" / "config.pbtxt"
    assert f"{repository / MODEL} has no output mask, but {config} says mask UINT8 [-1, 56, 56]" in message
    assert "masks UINT8" in message


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("TYPE_UINT8 dims: [ 3, 224, 224 ]", "TYPE_FP32 dims: [ 3, 224, 224 ]", "input crops is UINT8"),
        ('"crops" data_type', '"pixels" data_type', "has no input pixels"),
        ("dims: [ 56, 56 ]", "dims: [ 28, 28 ]", "output mask is UINT8"),
        ('name: "segment"', "nane: segment", "is no configuration of Triton"),
    ],
)
def test_a_configuration_that_says_something_else_is_named(
    repository: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, expected: str
) -> None:
    config = repository / "segment" / "config.pbtxt"
    assert old in config.read_text()
    config.write_text(config.read_text().replace(old, new))
    assert main(["check", "--repository", str(repository)]) == 1
    message = capsys.readouterr().err
    assert expected in message and str(config) in message


def test_a_graph_with_a_fixed_batch_cannot_fill_triton(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = onnx.load(repository / MODEL)
    for tensor in (*model.graph.input, *model.graph.output):
        tensor.type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(model, repository / MODEL)
    assert main(["check", "--repository", str(repository)]) == 1
    assert "input crops is UINT8 [1, 3, 224, 224]" in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["truncated", "missing"])
def test_a_damaged_or_missing_graph_is_named(repository: Path, capsys: pytest.CaptureFixture[str], damage: str) -> None:
    path = repository / MODEL
    content = path.read_bytes()
    path.unlink()
    if damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    assert main(["check", "--repository", str(repository)]) == 1
    message = capsys.readouterr().err
    assert str(path) in message
    assert ("no graph that ONNX Runtime can load" if damage == "truncated" else "is missing") in message


def test_a_folder_that_is_no_repository_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--repository", str(tmp_path)]) == 1
    assert f"{tmp_path / 'detect' / 'config.pbtxt'} is missing" in capsys.readouterr().err


def test_a_configuration_may_serve_another_version_and_file(repository: Path) -> None:
    shutil.copytree(repository / "segment" / "1", repository / "segment" / "2")
    config = repository / "segment" / "config.pbtxt"
    config.write_text(config.read_text().replace("versions: [ 1 ]", "versions: [ 1, 2 ]"))
    plain, _, engine = stage_configs(repository, "segment")
    assert plain.served == plain.graph == plain.exported == repository / "segment" / "2" / "model.onnx"
    assert engine.served == repository / "segment" / "1" / "model.plan"
    assert engine.graph == repository / "segment" / "1" / "model.onnx"


def test_an_int8_file_is_checked_beside_the_full_one(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = repository / "segment" / "config.pbtxt"
    config.write_text(config.read_text() + '\ndefault_model_filename: "model.int8.onnx"\n')
    assert main(["check", "--repository", str(repository)]) == 1
    assert f"{repository / 'segment' / '1' / 'model.int8.onnx'} is missing" in capsys.readouterr().err
    shutil.copyfile(repository / MODEL, repository / "segment" / "1" / "model.int8.onnx")
    rename_output(repository / MODEL, "masks")
    assert main(["check", "--repository", str(repository)]) == 1
    message = capsys.readouterr().err
    assert f"{repository / MODEL} has no output mask" in message and "gpu.pbtxt" in message
