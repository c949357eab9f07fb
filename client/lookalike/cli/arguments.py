"""What the command understands, and the help that teaches it."""

from __future__ import annotations

import argparse
import importlib.metadata
import os

from lookalike.cli.bench_arguments import add_bench
from lookalike.cli.catalog_arguments import add_import, add_products
from lookalike.cli.completion import add_completion
from lookalike.cli.evaluate_arguments import add_evaluate
from lookalike.cli.operating import add_operating
from lookalike.cli.parser import HelpFormatter, Parser
from lookalike.cli.parsing import address, seconds
from lookalike.cli.search_arguments import add_analyze, add_search, add_similar
from lookalike.cli.views_arguments import add_also_viewed, add_views

__all__ = ["build_parser"]

DESCRIPTION = "Find a shop's products that look like the garments of a photo."
EXAMPLES = """\
examples:
  lookalike import shop/products.csv            load a catalog, or a folder
  lookalike search street.jpg                   what looks like these garments?
  lookalike search street.jpg --save found.png  the same as a picture
  lookalike analyze street.jpg                  which garments are on it?
  lookalike products list --filter 'price < 5000 AND available'
  lookalike products update sku-1 --price 3900  change this and no more
  lookalike also-viewed sku-1                   what did others look at, too?
  lookalike views import yesterday.csv          who looked at what
  lookalike bench street/ --rate 20             how fast does the server answer?
  lookalike evaluate judged.csv                 how good is what it finds?
  lookalike completion bash                     let the shell complete all this

environment:
  LOOKALIKE_SERVER   address of the server, like --server
  LOOKALIKE_API_KEY  API key, where the server asks for one
  NO_COLOR           no colors on a terminal (FORCE_COLOR: also when piped)

exit codes:
  0  done
  1  import: done, but some products failed (--dry-run: have problems);
     bench: some requests failed; evaluate: something was left out;
     views import: some views do not count
  2  wrong usage, or a local file that cannot be read or written
  3  the server refused the request
  4  the server cannot be reached, is overloaded or too slow; try again
  130  interrupted

`lookalike COMMAND --help` says more about each command."""


def build_parser() -> Parser:
    """The parser; each command sets `command`, and `products` sets `action` too."""
    parser = Parser(
        prog="lookalike",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=HelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"lookalike {_version()}")
    _add_connection(parser, suppress=False)
    # The same options may also follow the command.
    common = Parser(add_help=False)
    _add_connection(common, suppress=True)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    add_import(commands, common)
    add_search(commands, common)
    add_analyze(commands, common)
    add_similar(commands, common)
    add_also_viewed(commands, common)
    add_products(commands, common)
    add_views(commands, common)
    add_bench(commands, common)
    add_evaluate(commands, common)
    add_operating(commands)
    add_completion(commands)
    return parser


def _version() -> str:
    try:
        return importlib.metadata.version("lookalike")
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


def _add_connection(parser: argparse.ArgumentParser, *, suppress: bool) -> None:
    def default(value: object) -> object:
        return argparse.SUPPRESS if suppress else value

    group = parser.add_argument_group("connection")
    server = os.environ.get("LOOKALIKE_SERVER") or "127.0.0.1:50051"
    group.add_argument(
        "--server", metavar="HOST:PORT", type=address, default=default(server), help="default: 127.0.0.1:50051"
    )
    group.add_argument("--catalog", metavar="NAME", default=default("default"), help="default: default")
    group.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=seconds,
        default=default(30.0),
        help="for one call with its retries; for an import: without any progress (default: 30)",
    )
    group.add_argument("--tls", action="store_true", default=default(False), help="encrypt the connection")
    for flag, metavar, help in (
        ("--ca-file", "PEM", "trust this certificate authority (implies --tls)"),
        ("--cert-file", "PEM", "show this certificate, where the server asks for one (implies --tls)"),
        ("--key-file", "PEM", "the key of that certificate"),
        ("--server-name", "NAME", "the name in the server's certificate, where it is not the host of --server"),
        ("--api-key-file", "FILE", "the API key, in a file of its own (or: LOOKALIKE_API_KEY)"),
    ):
        group.add_argument(flag, metavar=metavar, default=default(""), help=help)
