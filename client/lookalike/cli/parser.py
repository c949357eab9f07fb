"""The parser of a command: usage in one line, mistakes with what was probably meant, help that ends with examples."""

from __future__ import annotations

import argparse
import difflib
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn, TypeVar

__all__ = ["Commands", "HelpFormatter", "Parser", "add_command"]

Namespace = TypeVar("Namespace")
EXIT_CODES = "2 wrong usage or an unusable local file, 3 the server refused, 4 it cannot be reached or is busy"
WIDEST = 100


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Breaks the lines of running text as the terminal is wide; what is indented anywhere stays as it was written."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = text.split("\n\n")
        for number, paragraph in enumerate(paragraphs):
            if "\n " not in paragraph:
                paragraphs[number] = textwrap.fill(paragraph, min(width, WIDEST), break_on_hyphens=False)
        return "\n\n".join(paragraphs)


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that answers a mistake in two lines, where argparse would print its whole usage."""

    def format_usage(self) -> str:
        """The line above every help and below every mistake."""
        self._set_usage()
        return super().format_usage()

    def format_help(self) -> str:
        """What --help prints."""
        self._set_usage()
        return super().format_help()

    def _set_usage(self) -> None:
        # Options are listed below, with what they do; a dozen of them in brackets helps nobody.
        positional = self._get_positional_actions()
        words = [_usage_of(action) for action in positional]
        commands = any(isinstance(action, argparse._SubParsersAction) for action in positional)
        words.insert(0 if commands else len(words), "[options]")
        self.usage = " ".join(["%(prog)s", *words])

    def parse_known_args(  # type: ignore[override]  # typeshed's overloads say no more than this
        self, args: Sequence[str] | None = None, namespace: Namespace | None = None
    ) -> tuple[Any, list[str]]:
        """Refuse what is left over here, where the options of this very command are known."""
        known, rest = super().parse_known_args(args, namespace)
        if rest:
            self.error(self._left_over(rest))
        return known, rest

    def _left_over(self, rest: Sequence[str]) -> str:
        if option := next((word for word in rest if word.startswith("--")), ""):
            name = option.partition("=")[0]
            return f"there is no option {name}" + _meant(name, self._option_string_actions)
        words = " ".join(repr(word) for word in rest)
        return f"what shall {words} mean? Put what belongs together in quotes, such as 'price < 5000'"

    def _check_value(self, action: argparse.Action, value: Any) -> None:  # noqa: ANN401 - argparse's own signature
        if action.choices is None or value in action.choices:
            return
        choices = list(map(str, action.choices))
        meant = _meant(str(value), choices) or f"; there are {', '.join(choices)}"
        if isinstance(action, argparse._SubParsersAction):
            raise argparse.ArgumentError(None, f"there is no {str(action.metavar).lower()} {value!r}{meant}")
        raise argparse.ArgumentError(action, f"{value!r} is none of its values{meant}")

    def error(self, message: str) -> NoReturn:
        """Say it, with the usage, and leave with 2."""
        for action in self._get_positional_actions():
            if isinstance(action, argparse._SubParsersAction) and message.endswith(f": {action.metavar}"):
                message += f", one of {', '.join(action.choices)}"
        self.exit(2, f"{self.prog}: {message}\n{self.format_usage()}`{self.prog} --help` explains it, with examples\n")


Commands = argparse._SubParsersAction  # the only name that argparse gives it


def add_command(
    commands: Commands[Parser],
    common: Parser,
    name: str,
    summary: str,
    *,
    description: str,
    examples: str,
    exits: str = "0 done",
) -> Parser:
    """A command with the options that all have; its help ends with the examples and exit codes."""
    return commands.add_parser(
        name,
        parents=[common],
        help=summary,
        description=description,
        epilog=f"examples:\n{examples}\n\nexit codes: {exits}, {EXIT_CODES}; `lookalike --help` says more",
        formatter_class=HelpFormatter,
    )


def _usage_of(action: argparse.Action) -> str:
    name = str(action.metavar or action.dest)
    if isinstance(action, argparse._SubParsersAction):
        return f"{name} ..."
    return {"?": f"[{name}]", "*": f"[{name} ...]", "+": f"{name} [{name} ...]"}.get(str(action.nargs), name)


def _meant(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""
