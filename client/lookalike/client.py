"""The client: a connection with one method per RPC."""

from __future__ import annotations

from lookalike.products import ProductMethods
from lookalike.searching import SearchMethods, SearchOptions

__all__ = ["Client", "SearchOptions"]


class Client(SearchMethods, ProductMethods):
    """A connection to a Lookalike server, for one event loop.

        async with Client("127.0.0.1:50051") as client:
            answer = await client.search("street.jpg", filter="price < 10000")

    The target is HOST:PORT, or a name that gRPC resolves (unix:, dns:, xds:); ValueError for another. It connects with
    the first call and reconnects by itself. Answers are the messages of the contract. A product may be
    named by its id alone, which means the client's catalog; `catalog` may also be given per call. Calls of one client
    may be under way at the same time; one client per process is enough.

    Every method raises LookalikeError (errors.py draws the tree). Those that any call may end in: Unavailable (nobody
    answers at `target`, or a part of the server is away), DeadlineExceeded, Overloaded and QuotaExceeded,
    CredentialsInvalid, PermissionDenied, ServerFault. `retry` says which are tried again: Unavailable, and Overloaded
    when the server says after how long.

    `timeout` is in seconds and bounds a call with all its retries; every method takes one of its own.
    `credentials` come from grpc.ssl_channel_credentials(authority, key, certificate); without them nothing is
    encrypted, the `api_key` neither. `on_call` is told about every call except imports when it is over (a plain
    function that must not block). `channel_options` win over ours (connection.py).
    """
