"""How a browser is answered: JSON, errors with their HTTP status, and the headers that go with everything."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final

import grpc
from aiohttp import web

from lookalike_service.errors import ImageTooLarge, LookalikeError
from lookalike_service.logs import REQUEST_ID

__all__ = ["HEADERS", "STATUS", "error_answer", "json_answer"]

STATUS: Final[Mapping[grpc.StatusCode, int]] = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}
"""As google.rpc.Code gives them."""

HEADERS: Final[Mapping[str, str]] = {
    # Nothing but our own files runs, is shown or is asked; blob: is for photos that never left the browser.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Server": "lookalike",
    "X-Frame-Options": "DENY",
}


def json_answer(content: Any, *, metadata: Mapping[str, str] | None = None) -> web.Response:  # noqa: ANN401
    """Content as JSON; of a call's trailing metadata its id and where the time went."""
    headers = {"Cache-Control": "no-store"}
    for name, header in ((REQUEST_ID, "X-Request-Id"), ("server-timing", "Server-Timing")):
        if metadata and name in metadata:
            headers[header] = metadata[name]
    return web.Response(
        text=json.dumps(content, ensure_ascii=False, separators=(",", ":")),
        content_type="application/json",
        headers=headers,
    )


def error_answer(error: LookalikeError, *, metadata: Mapping[str, str] | None = None) -> web.Response:
    """An error as its reason, a sentence, and what a program can act on; google.rpc.Status says the same over gRPC."""
    said: dict[str, Any] = {"code": error.code.name, "reason": error.reason, "message": error.message}
    if error.field:
        said["field"] = error.field
    if error.metadata:
        said["metadata"] = error.metadata
    if error.retry_after is not None:
        said["retry_after"] = error.retry_after
    answer = json_answer({"error": said}, metadata=metadata)
    answer.set_status(413 if isinstance(error, ImageTooLarge) else STATUS.get(error.code, 500))
    if error.retry_after is not None:
        answer.headers["Retry-After"] = str(math.ceil(error.retry_after))
    if error.code is grpc.StatusCode.UNAUTHENTICATED:
        # Not Basic, for which browsers would ask in a window of their own.
        answer.headers["WWW-Authenticate"] = "Bearer"
    return answer
