"""The commands that run where the server is installed; they reach its database and index themselves."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from lookalike.cli.parser import Commands, Parser
from lookalike.cli.usage import UsageError

__all__ = ["OPERATING", "add_operating", "operate"]

# What each does, and the extra that brings it.
OPERATING = {
    "duplicates": ("find the same picture under two products; on the server's machine", "service"),
    "bulk": ("load a large catalog as a Ray job; on the server's machines", "bulk"),
    "verify": ("compare index and database, and repair; on the server's machine", "service"),
    "reindex": ("bring catalogs to a new model while the old one serves; on the server's machine", "service"),
}


def add_operating(commands: Commands[Parser]) -> None:
    """Their names; their options are known to the server alone."""
    for name, (summary, _) in OPERATING.items():
        commands.add_parser(name, help=summary)


def operate(arguments: Sequence[str]) -> int:
    """Run one of them; gives its exit code. Raises UsageError where the server is not installed."""
    if not all(importlib.util.find_spec(name) for name in ("lookalike_service", "sqlalchemy", "pymilvus")):
        name = arguments[0]
        raise UsageError(f"{name} runs where the server is installed: pip install 'lookalike[{OPERATING[name][1]}]'")
    from lookalike_service.__main__ import main

    return main(arguments, program="lookalike")
