"""`swap` refuses what would change vectors or does not run, before any Triton hears of it, and says what helps."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import onnx
import pytest

from lookalike_service.embedded import __main__ as command
from lookalike_service.embedded.control import ask, listening
from lookalike_service.embedded.swap import swap
from lookalike_service.errors import StartupError
from support_models import write_stand_ins


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    write_stand_ins(tmp_path / "repository")
    return tmp_path / "repository"


class Exchange:
    """Stands for another Triton that starts beside the one in use; `failure` is why it does not."""

    def __init__(self, failure: str = "") -> None:
        self.failure = failure
        self.times = 0

    async def __call__(self) -> None:
        self.times += 1
        if self.failure:
            raise StartupError(self.failure)


def half(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def renamed(path: Path) -> None:
    model = onnx.load(path)
    for node in model.graph.node:
        node.output[:] = ["points" if name == "scores" else name for name in node.output]
        node.input[:] = ["points" if name == "scores" else name for name in node.input]
    for output in model.graph.output:
        output.name = "points" if output.name == "scores" else output.name
    onnx.save(model, path)


def other_stage(path: Path) -> None:
    path.write_bytes((path.parent / "repository" / "segment" / "1" / "model.onnx").read_bytes())


@pytest.mark.parametrize(
    ("spoil", "why"),
    [(half, "it does not run"), (renamed, "its tensors are .*points"), (other_stage, "its tensors are .*crops")],
)
async def test_a_model_that_does_not_fit_is_refused_before_triton_sees_it(
    repository: Path, spoil: Callable[[Path], None], why: str
) -> None:
    served = repository / "detect" / "1" / "model.onnx"
    new, before, exchange = repository.parent / "new.onnx", served.read_bytes(), Exchange()
    new.write_bytes(before)
    spoil(new)
    with pytest.raises(StartupError, match=f"detect was refused and the old one serves: {why}"):
        await swap("detect", new, repository=repository, exchange=exchange)
    assert served.read_bytes() == before
    assert exchange.times == 0


def another(repository: Path) -> Path:
    """A model that differs from the one served, and fits."""
    new = repository.parent / "new.onnx"
    model = onnx.load(repository / "detect" / "1" / "model.onnx")
    model.doc_string = "another one"
    onnx.save(model, new)
    return new


async def test_one_that_fits_takes_the_place_and_the_old_one_is_kept(repository: Path) -> None:
    served, new, exchange = repository / "detect" / "1" / "model.onnx", another(repository), Exchange()
    before = served.read_bytes()
    said = await swap("detect", new, repository=repository, exchange=exchange)
    assert said == f"{new} serves as detect; the one before is kept as {served.with_suffix('.previous.onnx')}"
    assert served.read_bytes() == new.read_bytes()
    assert served.with_suffix(".previous.onnx").read_bytes() == before
    assert exchange.times == 1
    assert not list(served.parent.glob("*.part"))


async def test_what_does_not_start_is_put_back(repository: Path) -> None:
    served, new, exchange = repository / "detect" / "1" / "model.onnx", another(repository), Exchange("no memory")
    before = served.read_bytes()
    with pytest.raises(StartupError, match="refused and the old one serves: no memory"):
        await swap("detect", new, repository=repository, exchange=exchange)
    assert served.read_bytes() == before


@pytest.mark.parametrize("stage", ["decode", "crop", "keypoints", "segment", "embed", "garments_1"])
async def test_a_stage_that_changes_vectors_is_refused(repository: Path, stage: str) -> None:
    exchange = Exchange()
    with pytest.raises(StartupError, match=r"cannot be swapped.*new embedding version.*own_models"):
        await swap(stage, repository / "detect" / "1" / "model.onnx", repository=repository, exchange=exchange)


async def test_files_that_are_not_there_are_named(repository: Path, tmp_path: Path) -> None:
    exchange = Exchange()
    with pytest.raises(StartupError, match=r"no model .*gone\.onnx; name an ONNX file"):
        await swap("detect", tmp_path / "gone.onnx", repository=repository, exchange=exchange)
    model = repository / "detect" / "1" / "model.onnx"
    with pytest.raises(StartupError, match=r"holds no detect/1/model\.onnx"):
        await swap("detect", model, repository=tmp_path, exchange=exchange)


async def test_a_command_reaches_the_stack_of_a_directory(tmp_path: Path) -> None:
    async def obey(command: Mapping[str, str]) -> str:
        if command["stage"] == "embed":
            raise StartupError("embed cannot be swapped")
        return f"swapped {command['stage']}"

    # Longer than the address of a socket may be.
    directory = tmp_path / ("long" * 40)
    directory.mkdir()
    with pytest.raises(StartupError, match="no embedded stack answers in"):
        await ask(directory, {"stage": "detect"})
    async with listening(directory, obey):
        assert await ask(directory, {"stage": "detect"}) == "swapped detect"
        with pytest.raises(StartupError, match="embed cannot be swapped"):
            await ask(directory, {"stage": "embed"})
        with pytest.raises(StartupError, match="not a command"):
            await ask(directory, {})
        assert (directory / "control").stat().st_mode & 0o077 == 0
    with pytest.raises(StartupError, match=r"name the --directory of one that runs"):
        await ask(directory, {"stage": "detect"})


def test_the_command_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["embedded", "--directory", str(tmp_path), "swap", "detect", "model.onnx"])
    assert command.main() == 1
    assert "no embedded stack answers" in capsys.readouterr().err
