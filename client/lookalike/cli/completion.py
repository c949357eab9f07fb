"""`lookalike completion`: what a shell needs to complete the command, as a script that is generated once."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from lookalike.cli.parser import Commands, HelpFormatter, Parser
from lookalike.cli.usage import UsageError

__all__ = ["SHELLS", "add_completion", "completion_script"]

SHELLS = ("bash", "zsh", "fish")
Completes = Mapping[str, str | dict[str, str]]  # by shell
# What stands for a path, by the name that the help gives it.
FILES = ("FILE", "PATH", "PEM", "PHOTO", "PHOTOS", "JUDGED")
FOLDERS = ("FOLDER",)
HELP = """\
Prints a script with which a shell completes the commands, their options and file names when TAB is pressed. It is a
plain file: completing starts no Python, and does not ask the server. Make it anew after an upgrade."""
EXAMPLES = """\
examples:
  lookalike completion bash > ~/.local/share/bash-completion/completions/lookalike
  lookalike completion zsh > ~/.zfunc/_lookalike           with ~/.zfunc in fpath, before compinit
  lookalike completion fish > ~/.config/fish/completions/lookalike.fish
  source <(lookalike completion bash)                      for this bash alone

exit codes: 0 done, 2 wrong usage"""


def add_completion(commands: Commands[Parser]) -> None:
    """`lookalike completion`."""
    parser = commands.add_parser(
        "completion",
        help="print a script for a shell that completes the command",
        description=HELP,
        epilog=EXAMPLES,
        formatter_class=HelpFormatter,
    )
    parser.add_argument("shell", metavar="SHELL", choices=SHELLS, help=", ".join(SHELLS))


def completion_script(parser: Parser, *, shell: str) -> str:
    """The script for everything that `parser` knows. Raises UsageError where shtab is missing."""
    try:
        import shtab
    except ImportError as error:
        raise UsageError("completion needs one more package: pip install 'lookalike[cli]'") from error
    _prepare(parser, files=shtab.FILE, folders=shtab.DIRECTORY)
    return str(shtab.complete(parser, shell))


def _prepare(parser: argparse.ArgumentParser, *, files: Completes, folders: Completes) -> None:
    """Mark what is a path, and let summaries stand for descriptions, of which menus would show half a line."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action._choices_actions:
                action.choices[command.dest].description = command.help
                _prepare(action.choices[command.dest], files=files, folders=folders)
        elif action.metavar in FILES:
            action.complete = files  # type: ignore[attr-defined]  # where shtab looks for it
        elif action.metavar in FOLDERS:
            action.complete = folders  # type: ignore[attr-defined]
