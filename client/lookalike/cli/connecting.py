"""How the command reaches its server."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from lookalike.cli.usage import UsageError
from lookalike.errors import LookalikeError
from lookalike.retry import RetryPolicy

__all__ = ["Patience", "api_key", "channel_options", "credentials"]

# By then about a second is over; what passes sooner is not worth a word.
SAID_AT = 4


@dataclass(frozen=True, slots=True)
class Patience(RetryPolicy):
    """Retries that a person is told of, once: half a minute without a word looks like a hang."""

    seconds: float = 0.0
    said: list[str] = field(default_factory=list)

    def delay(self, error: LookalikeError, *, attempts: int) -> float | None:
        """As RetryPolicy has it."""
        delay = RetryPolicy.delay(self, error, attempts=attempts)
        if delay is not None and attempts >= SAID_AT and not self.said:
            self.said.append(error.message)
            print(
                f"lookalike: {error.message}; trying again for up to {self.seconds:g} s (Ctrl-C ends it)",
                file=sys.stderr,
            )
        return delay


def credentials(options: argparse.Namespace) -> grpc.ChannelCredentials | None:
    """What encrypts the connection; None leaves it open. Raises UsageError."""
    if bool(options.cert_file) is not bool(options.key_file):
        raise UsageError("a certificate goes with its key: give both --cert-file and --key-file")
    if not (options.tls or options.ca_file or options.cert_file):
        return None
    ca, key, certificate = (
        _read(path) if path else None for path in (options.ca_file, options.key_file, options.cert_file)
    )
    return grpc.ssl_channel_credentials(ca, key, certificate)


def channel_options(options: argparse.Namespace) -> tuple[tuple[str, int | str], ...]:
    """What the channel is told beside it."""
    return (("grpc.ssl_target_name_override", options.server_name),) if options.server_name else ()


def api_key(options: argparse.Namespace) -> str | None:
    """The key that the server may ask for; never an argument, which every user of the machine could read.

    Raises UsageError.
    """
    if not options.api_key_file:
        return os.environ.get("LOOKALIKE_API_KEY")
    key = _read(options.api_key_file).decode("ascii", "replace").strip()
    if not key.isascii() or len(key.split()) != 1:
        raise UsageError(f"{options.api_key_file} holds no API key; the file is the key alone, on one line")
    return key


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror or error})") from error
