"""The client: a connection with one method per RPC."""

from __future__ import annotations

from lookalike.products import ProductMethods
from lookalike.searching import SearchMethods, SearchOptions

__all__ = ["Client", "SearchOptions"]


class Client(SearchMethods, ProductMethods):
    """A connection to a Lookalike server, for one event loop.

        async with Client("127.0.0.1:50051") as client:
            answer = await client.search("street.jpg", filter="price < 10000")

    It connects with the first call and reconnects by itself. Answers are the messages of the contract. Every
    method raises LookalikeError (errors.py draws the tree). A product may be named by its id alone, which means
    the client's catalog; `catalog` may also be given per call.

    `timeout` is in seconds and bounds a call with all its retries; every method takes one of its own.
    `credentials` come from grpc.ssl_channel_credentials(...); without them nothing is encrypted. `on_call` is
    told about every call except imports when it is over (a plain function that must not block).
    `channel_options` win over ours (connection.py).
    """
