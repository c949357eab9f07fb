"""The caller's trace, handed on with every call where OpenTelemetry is installed; the client does not need it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

__all__ = ["with_trace"]


def _injector() -> Callable[[dict[str, str]], None] | None:
    try:
        from opentelemetry import propagate
    except ImportError:
        return None
    return propagate.inject


_INJECT = _injector()


def with_trace(metadata: Sequence[tuple[str, str]]) -> Sequence[tuple[str, str]]:
    """The metadata of a call with the current trace context beside it; what the metadata already say stays."""
    if _INJECT is None:
        return metadata
    carrier: dict[str, str] = {}
    _INJECT(carrier)
    if not carrier:
        return metadata
    said = {key for key, _ in metadata}
    # gRPC takes keys in lower case only.
    return (*metadata, *((key.lower(), value) for key, value in carrier.items() if key.lower() not in said))
