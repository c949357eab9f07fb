"""`lookalike also-viewed` and `lookalike views`."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncGenerator, Iterator
from itertools import islice
from pathlib import Path

from google.protobuf.json_format import MessageToJson

from lookalike.catalogs.view_rows import ViewsUnreadable, read_views
from lookalike.cli.display import Display
from lookalike.cli.usage import UsageError
from lookalike.client import Client
from lookalike.formatting import counted
from lookalike.v1.product_service_pb2 import ProductPageView, RecordViewsResponse

__all__ = ["also_viewed_command", "views_command"]

SOME_LEFT_OUT = 1
MOST_PROBLEMS_SHOWN = 100
READ_AT_ONCE = 1000


async def also_viewed_command(client: Client, options: argparse.Namespace) -> int:
    """List what was viewed together with a product. Raises LookalikeError."""
    answer = await client.also_viewed(
        options.product,
        filter=options.filter,
        page_size=options.page_size,
        similarity_share=options.similarity_share,
    )
    if options.json:
        print(MessageToJson(answer))
    else:
        Display().also_viewed(answer.products)
    return 0


async def views_command(client: Client, options: argparse.Namespace) -> int:
    """Run the action that was parsed; gives the exit code. Raises UsageError and LookalikeError."""
    if options.action == "import":
        return await _import(client, options)
    for session in options.sessions:
        deleted = await client.forget_session(session)
        print(f"forgot {session} ({counted(deleted, 'view')})")
    return 0


async def _import(client: Client, options: argparse.Namespace) -> int:
    reading = _Reading(Path(options.path))
    try:
        answer = await client.record_views(reading.views())
    except (ViewsUnreadable, OSError) as error:
        raise UsageError(str(error)) from error
    if options.json:
        print(MessageToJson(answer, always_print_fields_with_no_presence=True))
    else:
        Display().line(_summary(answer, problems=reading.problems))
    left_out = answer.unknown_products + answer.out_of_window + answer.over_session_limit + reading.problems
    return SOME_LEFT_OUT if left_out else 0


class _Reading:
    """The views of a file; what does not parse is said and counted."""

    def __init__(self, path: Path) -> None:
        self.problems = 0
        self._path = path

    async def views(self) -> AsyncGenerator[ProductPageView, None]:
        """Some hundred at a time are read beside the event loop."""
        rows = self._rows()
        while some := await asyncio.to_thread(lambda: list(islice(rows, READ_AT_ONCE))):
            for each in some:
                yield each

    def _rows(self) -> Iterator[ProductPageView]:
        for each in read_views(self._path):
            if isinstance(each, ProductPageView):
                yield each
                continue
            self.problems += 1
            if self.problems <= MOST_PROBLEMS_SHOWN:
                print(f"{self._path} line {each.line}: {each.text}", file=sys.stderr)
            elif self.problems == MOST_PROBLEMS_SHOWN + 1:
                print("more rows that do not parse are not shown", file=sys.stderr)


def _summary(answer: RecordViewsResponse, *, problems: int) -> str:
    left_out = {
        "of unknown products": answer.unknown_products,
        "in the future or too long ago": answer.out_of_window,
        "of sessions with too many": answer.over_session_limit,
        "in rows that do not parse": problems,
    }
    said = ", ".join(f"{number} {why}" for why, number in left_out.items() if number)
    return f"recorded {counted(answer.accepted, 'view')}" + (f"; left out: {said}" if said else "")
