"""The fuzz targets work, and handle what they begin with; make fuzz goes on from there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize("target", ["decode", "filter", "tokens", "requests"])
def test_a_few_inputs_of_each_target(target: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fuzz", target, "--runs", "300", "--seconds", "30"]
    path = os.pathsep.join([str(TESTS), *filter(None, sys.path)])
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    log = (tmp_path / "build" / "fuzz" / target / "log.txt").read_text(errors="replace")
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\n{log[-3000:]}"
    assert f"{target}: " in done.stdout and "no findings" in done.stdout
    assert json.loads((tmp_path / "build" / "fuzz.json").read_text())[target]["inputs"] >= 100


def test_what_breaks_is_said_and_kept(tmp_path: Path) -> None:
    """A target that fails on its first input, run as the others are."""
    code = (
        "import fuzz.__main__ as command\n"
        "command.TARGETS = ('broken',)\n"
        "command.write_corpus = lambda target, folder: folder.mkdir(parents=True) or folder\n"
        "import sys; sys.argv = ['fuzz', '--runs', '10', '--seconds', '5']\n"
        "sys.exit(command.main())\n"
    )
    package = tmp_path / "package" / "fuzz"
    package.mkdir(parents=True)
    (package / "broken.py").write_text(
        "import atheris, sys\n"
        "def one_input(data):\n    raise ValueError('broken')\n"
        "atheris.Setup(sys.argv, one_input)\natheris.Fuzz()\n"
    )
    (package / "__init__.py").write_text(
        f"from pkgutil import extend_path\n__path__ = [{str(package)!r}, {str(TESTS / 'fuzz')!r}]\n"
    )
    path = os.pathsep.join([str(package.parent), str(TESTS), *filter(None, sys.path)])
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1, done.stderr
    assert "broken: " in done.stdout and "BROKEN" in done.stdout
    assert list((tmp_path / "build" / "fuzz" / "broken").glob("crash-*"))
