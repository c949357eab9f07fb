"""The `lookalike` command."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import sys
from collections.abc import Sequence

from lookalike.cli.arguments import build_parser
from lookalike.errors import DeadlineExceeded, LookalikeError, Overloaded, Unavailable

__all__ = ["main"]

USAGE, REFUSED, TRY_AGAIN, INTERRUPTED = 2, 3, 4, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; gives its exit code (`lookalike --help` lists them)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["verify"]:
        return _on_the_server(given)
    options = build_parser().parse_args(given)
    if not all(importlib.util.find_spec(package) for package in ("rich", "PIL")):
        return _complain("the lookalike command needs more packages than the SDK: pip install 'lookalike[cli]'", USAGE)
    from lookalike.cli.commands import run
    from lookalike.cli.usage import UsageError

    try:
        return asyncio.run(run(options))
    except UsageError as error:
        return _complain(str(error), USAGE)
    except (Unavailable, DeadlineExceeded, Overloaded) as error:
        return _complain(_sentence(error), TRY_AGAIN)
    except LookalikeError as error:
        return _complain(_sentence(error), REFUSED)
    except KeyboardInterrupt:
        return _complain("interrupted", INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has enough; Python shall not complain about it on its way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _on_the_server(arguments: Sequence[str]) -> int:
    """A command that reaches database and index themselves."""
    if not all(importlib.util.find_spec(name) for name in ("lookalike_service", "sqlalchemy", "pymilvus")):
        return _complain("verify runs where the server is installed: pip install 'lookalike[service]'", USAGE)
    from lookalike_service.__main__ import main as operate

    return operate(arguments)


def _sentence(error: LookalikeError) -> str:
    reason = f"{error.reason}: " if error.reason else ""
    fields = sorted({violation.field for violation in error.field_violations if violation.field})
    return f"{reason}{error.message}" + (f" (field {', '.join(fields)})" if fields else "")


def _complain(sentence: str, code: int) -> int:
    print(f"lookalike: {sentence}", file=sys.stderr)
    return code
