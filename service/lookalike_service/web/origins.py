"""Who may use the page in a browser: the page itself, and no other site that the same browser shows."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

from lookalike_service.errors import PermissionDenied

__all__ = ["check_host", "check_origin"]


def check_host(host: str, *, known: Collection[str]) -> None:
    """See that a request was meant for this server. Raises PermissionDenied.

    A site whose DNS name is made to point here (DNS rebinding) would count as the page itself. It needs a name for
    that, so IP addresses may be anything, `localhost` is safe, and other names must be `known`.
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
        if name == "localhost" or name in {each.lower() for each in known}:
            return
        ipaddress.ip_address(name)
    except ValueError:
        raise PermissionDenied(
            f"this server is not called {host[:100]!r}; if it is, name it in LOOKALIKE_PAGE_HOSTS"
        ) from None


def check_origin(headers: Mapping[str, str]) -> None:
    """See that no other site sends the request. Raises PermissionDenied.

    Browsers say so themselves, in a header that scripts cannot set; older ones name the origin. What is no browser says
    neither, and could say anything.
    """
    site = headers.get("Sec-Fetch-Site", "same-origin")
    origin = headers.get("Origin", "")
    foreign = bool(origin) and urlsplit(origin).netloc.lower() != headers.get("Host", "").lower()
    if site not in ("same-origin", "none") or foreign:
        raise PermissionDenied("only the page itself may ask this server, not another site")
