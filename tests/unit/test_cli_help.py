"""The help of every command teaches, and the page about the command keeps to it."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from lookalike.cli import main
from lookalike.cli.arguments import build_parser
from lookalike.cli.operating import OPERATING
from lookalike_service.operating_arguments import build_parser as operating_parser


def test_without_arguments_it_says_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    said = capsys.readouterr()
    assert said.out == "" and re.search(r"\n    similar +find products that look like", said.err)


def commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parser and those of its commands."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from commands(command)


def helps() -> dict[str, str]:
    """The help of every command that a person may type, by its name."""
    found = {parser.prog: parser.format_help() for parser in commands(build_parser())}
    for parser in commands(operating_parser("lookalike")):
        if parser.prog.removeprefix("lookalike ") in OPERATING:
            found[parser.prog] = parser.format_help()
    return found


@pytest.mark.parametrize(("command", "text"), helps().items())
def test_help_teaches(command: str, text: str) -> None:
    described = text.split("\n\n")[1]
    assert command == "lookalike" or len(described) > 80, described
    assert f"examples:\n  {command}" in text and "exit codes:" in text
    for example in re.findall(r"^  (lookalike .*)$", text, re.MULTILINE):
        words = shlex.split(re.split(r" {2,}| \| | > ", example)[0])
        parser = operating_parser("lookalike") if words[1] in OPERATING else build_parser()
        assert parser.parse_args(words[1:]).command == words[1]


def test_the_commands_of_the_page_about_it_parse() -> None:
    page = (Path(__file__).parents[2] / "docs/command.md").read_text(encoding="utf-8")
    lines = re.findall(r"^    lookalike (.*)$", page, re.MULTILINE)
    assert len(lines) >= 9
    for line in lines:
        build_parser().parse_args(shlex.split(re.split(r" \| | > ", line)[0], comments=True))
    named = {word for row in re.findall(r"^\| (`.*?) \|", page, re.MULTILINE) for word in re.findall(r"`(.+?)`", row)}
    (commands,) = (each for each in build_parser()._actions if isinstance(each, argparse._SubParsersAction))
    assert named == set(commands.choices)
