"""The `lookalike` command."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence

from lookalike.cli.arguments import build_parser
from lookalike.cli.completion import completion_script
from lookalike.cli.operating import OPERATING, operate
from lookalike.cli.usage import UsageError
from lookalike.errors import DeadlineExceeded, FilterMalformed, LookalikeError, Overloaded, ServerFault, Unavailable

__all__ = ["main"]

LoopFactory = Callable[[], asyncio.AbstractEventLoop]
USAGE, REFUSED, TRY_AGAIN, INTERRUPTED = 2, 3, 4, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; gives its exit code (`lookalike --help` lists them)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = build_parser()
    try:
        if given and given[0] in OPERATING:
            return operate(given)
        if not given:
            parser.print_help(sys.stderr)
            return USAGE
        options = parser.parse_args(given)
        if options.command == "completion":
            print(completion_script(parser, shell=options.shell))
            return 0
        if options.command in OPERATING:
            raise UsageError(f"all options of {options.command} follow it: lookalike {options.command} --help")
    except UsageError as error:
        return _complain(str(error), USAGE)
    if not all(importlib.util.find_spec(package) for package in ("rich", "PIL")):
        return _complain("the lookalike command needs more packages than the SDK: pip install 'lookalike[cli]'", USAGE)
    loop_factory: LoopFactory | None = None
    if options.command == "bench":
        if not all(importlib.util.find_spec(package) for package in ("hdrh", "matplotlib")):
            return _complain("lookalike bench needs more packages: pip install 'lookalike[bench]'", USAGE)
        from lookalike.bench import event_loop as loop_factory
    from lookalike.cli.commands import run

    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            return runner.run(run(options))
    except UsageError as error:
        return _complain(str(error), USAGE)
    except (Unavailable, DeadlineExceeded, Overloaded) as error:
        return _complain(_sentence(error), TRY_AGAIN)
    except LookalikeError as error:
        return _complain(_sentence(error) + _place(error, getattr(options, "filter", "")), REFUSED)
    except KeyboardInterrupt:
        return _complain("interrupted", INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has enough; Python shall not complain about it on its way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _sentence(error: LookalikeError) -> str:
    reason = f"{error.reason}: " if error.reason else ""
    fields = sorted({violation.field for violation in error.field_violations if violation.field})
    # Only the server's log says more about a fault of its own.
    request = f" (request {error.request_id})" if isinstance(error, ServerFault) and error.request_id else ""
    return f"{reason}{error.message}" + (f" (field {', '.join(fields)})" if fields else "") + request


def _place(error: LookalikeError, filter: str) -> str:
    """The filter with a mark under the character where reading it stopped, in lines of their own."""
    if not isinstance(error, FilterMalformed) or error.position is None or not filter.isprintable():
        return ""
    return f"\n  {filter}\n  {' ' * error.position}^"


def _complain(sentence: str, code: int) -> int:
    print(f"lookalike: {sentence}", file=sys.stderr)
    return code
