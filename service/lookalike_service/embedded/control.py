"""How commands reach a running embedded stack: a Unix socket in its directory, one JSON object each way."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

from lookalike_service.errors import StartupError

__all__ = ["ask", "listening"]

NAME: Final = "control"
LONGEST_SECONDS: Final = 600.0

Handler = Callable[[Mapping[str, str]], Awaitable[str]]


@asynccontextmanager
async def listening(directory: Path, handle: Handler) -> AsyncIterator[None]:
    """Answer commands during a block, one at a time; what `handle` raises as StartupError is told to the command.

    Whoever may write into `directory` may give commands.
    """
    turn = asyncio.Lock()

    async def visit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            command = json.loads(await reader.readline())
            async with turn:
                answer = {"done": await handle(command)}
        except StartupError as error:
            answer = {"error": str(error)}
        except (ValueError, KeyError) as error:
            answer = {"error": f"not a command: {error}"}
        writer.write(json.dumps(answer).encode() + b"\n")
        await writer.drain()
        writer.close()

    with _short(directory) as folder:
        (directory / NAME).unlink(missing_ok=True)
        server = await asyncio.start_unix_server(visit, f"{folder}/{NAME}")
        (directory / NAME).chmod(0o600)
        async with server:
            yield
    (directory / NAME).unlink(missing_ok=True)


async def ask(directory: Path, command: Mapping[str, str]) -> str:
    """Have the stack that serves from `directory` carry out a command, and return what it says.

    Raises StartupError when it refuses, or when no stack is there.
    """
    try:
        with _short(directory) as folder:
            reader, writer = await asyncio.open_unix_connection(f"{folder}/{NAME}")
    except OSError as error:
        raise StartupError(
            f"no embedded stack answers in {directory}; name the --directory of one that runs (make serve)"
        ) from error
    writer.write(json.dumps(dict(command)).encode() + b"\n")
    try:
        async with asyncio.timeout(LONGEST_SECONDS):
            line = await reader.readline()
    except TimeoutError as error:
        raise StartupError(f"the stack in {directory} has not answered for {LONGEST_SECONDS:.0f} s") from error
    finally:
        writer.close()
    if not line:
        raise StartupError(f"the stack in {directory} has ended meanwhile")
    answer: dict[str, str] = json.loads(line)
    if "error" in answer:
        raise StartupError(answer["error"])
    return answer["done"]


@contextmanager
def _short(directory: Path) -> Iterator[str]:
    """A name of the directory that is short enough for the address of a socket (108 bytes)."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
