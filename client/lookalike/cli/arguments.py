"""What the command understands, and the help that teaches it."""

from __future__ import annotations

import argparse
import importlib.metadata
import os

from lookalike.cli.catalog_arguments import add_import, add_products
from lookalike.cli.parsing import Commands, add_command, add_json, count, region, seconds, weight

__all__ = ["build_parser"]

DESCRIPTION = "Find a shop's products that look like the garments of a photo."
EXAMPLES = """\
examples:
  lookalike import shop/products.csv            load a catalog (or a folder of images)
  lookalike search street.jpg                   what looks like the garments of this photo?
  lookalike search street.jpg --save found.png  the same as a picture
  lookalike analyze street.jpg                  which garments are on it?
  lookalike products list --filter 'price < 5000 AND available'
  lookalike products update sku-1 --price 3900  change what is named, nothing else

environment:
  LOOKALIKE_SERVER   address of the server, like --server
  LOOKALIKE_API_KEY  API key, where the server asks for one

exit codes:
  0  done
  1  import: done, but some products failed (--dry-run: have problems)
  2  wrong usage, or a local file that cannot be read or written
  3  the server refused the request
  4  the server cannot be reached, is overloaded or too slow; trying again may help
  130  interrupted

`lookalike COMMAND --help` says more about each command."""

SEARCH_EXAMPLES = """\
examples:
  lookalike search street.jpg
  lookalike search street.jpg --region 0.2,0.1,0.8,0.6
  lookalike search street.jpg --filter 'category = "dress" AND price < 10000' --page-size 5
  lookalike search street.jpg --json | jq '.results[].hits[0].product.name'
  lookalike search street.jpg --save found.png --images .lookalike/images"""
ANALYZE_EXAMPLES = """\
examples:
  lookalike analyze street.jpg
  lookalike analyze street.jpg --save garments.png
  lookalike analyze street.jpg --json | jq '.garments[].category'"""


def build_parser() -> argparse.ArgumentParser:
    """The parser; each command sets `command`, and `products` sets `action` too."""
    parser = argparse.ArgumentParser(
        prog="lookalike",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"lookalike {_version()}")
    _add_connection(parser, suppress=False)
    # The same options may also follow the command.
    common = argparse.ArgumentParser(add_help=False)
    _add_connection(common, suppress=True)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    add_import(commands, common)
    _add_search(commands, common)
    _add_analyze(commands, common)
    _add_similar(commands, common)
    add_products(commands, common)
    commands.add_parser("verify", help="compare index and database, and repair; on the server's machine")
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
    group.add_argument("--server", metavar="HOST:PORT", default=default(server), help="default: 127.0.0.1:50051")
    group.add_argument("--catalog", metavar="NAME", default=default("default"), help="default: default")
    group.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=seconds,
        default=default(30.0),
        help="for one call with its retries; for an import: without any progress (default: 30)",
    )
    group.add_argument("--tls", action="store_true", default=default(False), help="encrypt the connection")
    group.add_argument(
        "--ca-file", metavar="PEM", default=default(""), help="trust this certificate authority (implies --tls)"
    )


def _add_search(commands: Commands[argparse.ArgumentParser], common: argparse.ArgumentParser) -> None:
    summary = "find products that look like the garments of a photo"
    parser = add_command(commands, common, "search", summary, examples=SEARCH_EXAMPLES)
    _add_photo(parser)
    _add_hits(parser)
    parser.add_argument(
        "--images",
        metavar="FOLDER",
        default="",
        help="for --save: the folder in which a server on this machine keeps its images",
    )


def _add_analyze(commands: Commands[argparse.ArgumentParser], common: argparse.ArgumentParser) -> None:
    summary = "find and describe the garments of a photo, without a search"
    _add_photo(add_command(commands, common, "analyze", summary, examples=ANALYZE_EXAMPLES))


def _add_similar(commands: Commands[argparse.ArgumentParser], common: argparse.ArgumentParser) -> None:
    parser = add_command(commands, common, "similar", "find products that look like a product of the catalog")
    parser.add_argument("product", metavar="ID")
    _add_hits(parser)
    add_json(parser)


def _add_photo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("photo", metavar="PHOTO", help="JPEG, PNG or WebP, at most 20 MiB")
    parser.add_argument(
        "--region",
        metavar="x0,y0,x1,y1",
        type=region,
        action="append",
        default=[],
        dest="regions",
        help="look only here, as shares of the photo from the top left; may be given up to 16 times",
    )
    parser.add_argument("--max-garments", metavar="N", type=count, default=0, help="at most N, the surest first")
    parser.add_argument("--save", metavar="FILE", default="", help="draw the result into a PNG, JPEG or WebP")
    parser.add_argument("--font", metavar="FILE", default=None, help="a font for names that the pictures' own lacks")
    add_json(parser)


def _add_hits(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--filter", metavar="FILTER", default="", help="only these products, such as 'price < 5000'")
    parser.add_argument("--page-size", metavar="N", type=count, default=0, help="products per garment (default: 10)")
    parser.add_argument("--min-score", metavar="SCORE", type=float, default=0.0, help="only hits of this score or more")
    parser.add_argument(
        "--category-mode",
        choices=("off", "prefer", "strict"),
        default="off",
        help="whether products of the garment's category come first, or no others come (default: off)",
    )
    parser.add_argument(
        "--color-weight", metavar="W", type=weight, default=0.0, help="0..1: let colors count for more than looks say"
    )
    parser.add_argument(
        "--pattern-weight", metavar="W", type=weight, default=0.0, help="0..1: let the pattern count for more"
    )
