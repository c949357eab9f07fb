"""What the pages tell people to type, read out of them, and whether the programs would understand it."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

__all__ = ["PAGES", "ROOT", "Command", "commands", "complaint", "prose"]

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
# Whose code parses what follows the program; others (docker, cp, grep) are the business of their own authors.
LOOKALIKE: Final = re.compile(r"^(?:\.venv/bin/)?lookalike$")
PYTHON: Final = re.compile(r"^(?:\.venv/bin/)?python3?$")
PIP: Final = re.compile(r"^(?:\.venv/bin/)?pip$")
MODULES: Final = (
    "lookalike",
    "lookalike_service",
    "lookalike_service.embedded",
    "lookalike_export",
    "bench",
    "chaos",
    "fuzz",
)
# Where a name stands for a value, as the pages write it, and what it may be.
STAND_INS: Final = {"COMMAND": "search", "VERSION": "2", "STAGE": "embed"}


@dataclass(frozen=True, slots=True)
class Command:
    """A command as a page prints it: `whole` in a block, or in a sentence, which may leave some of it out."""

    page: str
    line: int
    text: str
    whole: bool


class _Parsed(BaseException):
    """The arguments were understood; not an Exception, so that nobody on the way catches it."""


def prose(page: Path) -> str:
    """The page without its blocks of code."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"^    .*$", "", text, flags=re.MULTILINE)


def commands(page: Path) -> Iterator[Command]:
    """Every command of a page that is ours to understand."""
    name, fence = str(page.relative_to(ROOT)), ""
    lines = enumerate(page.read_text().splitlines(), start=1)
    for number, line in lines:
        if line.startswith("```"):
            fence = "" if fence else line.removeprefix("```") or "text"
            continue
        if (line.startswith("    ") and not fence) or fence in ("sh", "bash", "console"):
            text = line.strip().removeprefix("$ ")
            while text.endswith("\\"):
                text = text.removesuffix("\\") + next(lines)[1].strip()
            found = [Command(name, number, text, whole=True)]
        else:
            found = (
                [] if fence else [Command(name, number, text, whole=False) for text in re.findall(r"`([^`]+)`", line)]
            )
        yield from (command for command in found if _words(command.text))


def complaint(command: Command) -> str:
    """What is wrong with a command; empty when our programs understand it."""
    words = _words(command.text)
    if words[0] == "make":
        return _complaint_of_make(words[1:])
    if PIP.match(words[0]):
        return _complaint_of_pip(words[1:])
    module = "lookalike" if LOOKALIKE.match(words[0]) else words[2]
    return _complaint_of_ours(module, words[1:] if module == "lookalike" else words[3:], whole=command.whole)


def _words(text: str) -> list[str]:
    """The words of a command of ours, from the program on; none where it is something else."""
    try:
        words = shlex.split(text, comments=True)
    except ValueError:
        return []
    for end in ("|", ">", "&&", ";"):
        words = words[: words.index(end)] if end in words else words
    if words[:1] == ["env"]:
        words = words[1:]
    while words and re.match(r"^([A-Z_]+=.*|\$\(.*|.*\))$", words[0]):
        words = words[1:]
    if not words:
        return []
    ours = (
        words[0] == "make"
        or (len(words) > 1 and (LOOKALIKE.match(words[0]) or (PIP.match(words[0]) and words[1] == "install")))
        or (
            len(words) > 2
            and PYTHON.match(words[0])
            and words[1] == "-m"
            and words[2].split(".")[0].startswith(MODULES)
        )
    )
    return words if ours else []


def _complaint_of_make(words: list[str]) -> str:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE)) | {"$(VENV)/.dev", ".venv/.dev"}
    variables = set(re.findall(r"\$\((?:if \$\(|or \$\(|filter \w+,\$\()?([A-Z_]+)\)", makefile))
    for word in words:
        variable, equals, _ = word.partition("=")
        if equals and variable not in variables:
            return f"the Makefile heeds no {variable}"
        if not equals and word not in targets and word != "...":
            return f"the Makefile has no target {word}"
    return ""


def _complaint_of_pip(words: list[str]) -> str:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for extras in re.findall(r"(?:lookalike|\.)\[([a-z,-]+)\]", " ".join(words)):
        if unknown := set(extras.split(",")) - project["optional-dependencies"].keys():
            return f"pyproject.toml has no extra {', '.join(sorted(unknown))}"
    return ""


def _complaint_of_ours(module: str, words: list[str], *, whole: bool) -> str:
    entry = importlib.import_module("lookalike.cli" if module == "lookalike" else f"{module}.__main__").main
    # "import|forget" in a sentence is either.
    arguments = [STAND_INS.get(word, word if whole else word.split("|")[0]) for word in words if word != "..."]
    said = io.StringIO()
    with _only_parsing([module, *arguments]), contextlib.redirect_stderr(said):
        try:
            entry(arguments) if module in ("lookalike", "lookalike_service") else entry()
        except _Parsed:
            return ""
        except SystemExit as ended:
            wrong = " ".join(said.getvalue().split())
            incomplete = not whole and re.search("are required|expected one argument|one of the arguments", wrong)
            return "" if ended.code == 0 or incomplete else wrong
    return "it ended without reading its arguments"


@contextlib.contextmanager
def _only_parsing(command: list[str]) -> Iterator[None]:
    """Have every parser of arguments stop the program once it has understood them, and `command` be what was typed."""
    real, typed = argparse.ArgumentParser.parse_args, sys.argv

    def parse_and_stop(parser: argparse.ArgumentParser, arguments: Any = None, namespace: Any = None) -> Any:  # noqa: ANN401
        real(parser, arguments, namespace)
        raise _Parsed

    argparse.ArgumentParser.parse_args = parse_and_stop  # type: ignore[method-assign, assignment]
    sys.argv = command
    try:
        yield
    finally:
        argparse.ArgumentParser.parse_args, sys.argv = real, typed  # type: ignore[method-assign]
