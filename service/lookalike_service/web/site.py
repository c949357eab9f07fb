"""The web server of the page: its port, what is checked of every request, and its life beside the gRPC server."""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web

from lookalike_service.errors import LookalikeError, StartupError
from lookalike_service.settings import Settings
from lookalike_service.tls import web_context
from lookalike_service.web import files
from lookalike_service.web.answers import HEADERS, error_answer
from lookalike_service.web.endpoints import Endpoints
from lookalike_service.web.origins import check_host

__all__ = ["Site"]

logger = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
# Photos are let in by their own bound before they are read; nothing else comes near this one.
_BACKLOG: Final = 128


class Site:
    """The page behind its port, which is bound, and answers once it is started."""

    def __init__(self, settings: Settings, endpoints: Endpoints, *, shared_port: bool) -> None:
        """Bind the port, which other processes of ours may share when told so. Raises StartupError."""
        self._settings = settings
        self._encryption: ssl.SSLContext | None = web_context(settings)
        application = web.Application(middlewares=[self._checked])
        application.add_routes([*endpoints.routes(), *files.routes()])
        self._runner = web.AppRunner(
            application, access_log=None, handler_cancellation=True, shutdown_timeout=settings.grace_seconds
        )
        self._socket = _bound(settings.page_address, shared=shared_port)
        self.port = int(self._socket.getsockname()[1])

    @property
    def url(self) -> str:
        """What to open in a browser."""
        host = self._settings.page_address.rpartition(":")[0]
        return f"{'https' if self._encryption else 'http'}://{host}:{self.port}"

    async def start(self) -> None:
        """Answer from now on."""
        await self._runner.setup()
        await web.SockSite(self._runner, self._socket, ssl_context=self._encryption, backlog=_BACKLOG).start()
        logger.info("the page is at %s", self.url)

    async def stop(self) -> None:
        """Let requests under way finish, and close the port."""
        await self._runner.cleanup()
        self._socket.close()

    @web.middleware
    async def _checked(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            check_host(request.host, known=self._settings.page_hosts)
            answer = await handler(request)
        except LookalikeError as error:
            answer = error_answer(error)
        except web.HTTPException as error:
            answer = web.Response(status=error.status, text=f"{error.status} {error.reason}\n")
        answer.headers.update(HEADERS)
        return answer


def _bound(address: str, *, shared: bool) -> socket.socket:
    host, _, port = address.rpartition(":")
    try:
        kind, _, _, _, place = _resolved(host, int(port))
        listening = socket.socket(kind, socket.SOCK_STREAM)
    except OSError as error:
        raise StartupError(f"LOOKALIKE_PAGE_ADDRESS: there is no address {address}") from error
    try:
        # Ports of connections that have just ended are free again.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(shared))
        listening.bind(place)
    except OSError as error:
        listening.close()
        raise StartupError(
            f"cannot show the page on {address}: the port is taken, or the address is not this machine's; set "
            "LOOKALIKE_PAGE_ADDRESS to another one (port 0 takes any that is free, an empty address shows no page)"
        ) from error
    return listening


def _resolved(host: str, port: int) -> tuple[Any, ...]:
    return socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
