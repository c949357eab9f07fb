"""What the command understands, and the help that teaches it."""

from __future__ import annotations

import argparse
import importlib.metadata
import math
import os

__all__ = ["build_parser"]

DESCRIPTION = "Find a shop's products that look like the garments of a photo."
EXAMPLES = """\
examples:
  lookalike import shop/products.csv            load a catalog (or a folder of images)
  lookalike search street.jpg                   what looks like the garments of this photo?
  lookalike search street.jpg --save found.png  the same as a picture
  lookalike analyze street.jpg                  which garments are on it?
  lookalike products list --filter 'price < 5000 AND available'

environment:
  LOOKALIKE_SERVER   address of the server, like --server
  LOOKALIKE_API_KEY  API key, where the server asks for one

exit codes:
  0  done
  1  import: done, but some products failed
  2  wrong usage, or a local file that cannot be read or written
  3  the server refused the request
  4  the server cannot be reached, is overloaded or too slow; trying again may help
  130  interrupted

`lookalike COMMAND --help` says more about each command."""

IMPORT_HELP = """\
Adds products to a catalog and replaces those that are there. What has not changed costs next to nothing, so after
a failure simply run the same command again.

PATH is one of
  a folder of images   every JPEG, PNG and WebP in it and its subfolders is a product. Its id is the path, its title
                       the file's name, its category a subfolder that is called like one ("dresses/"); otherwise
                       the model decides. A folder with a products.jsonl or products.csv is read from that file.
  a .csv file          columns id, title, brand, category, price (in cents), currency, available, uri,
                       images (several separated by |) and attributes.KEY; only id and images are required
  a .jsonl file        the same fields, one object per line:
                       {"id": "sku-1", "title": "Linen dress", "price": 4900, "currency": "EUR",
                        "attributes": {"fit": "slim"}, "images": ["images/1.jpg"]}
Image paths are relative to the file. A product that fails is reported with its row, and the others go on."""
IMPORT_EXAMPLES = """\
examples:
  lookalike import photos/
  lookalike import dresses/ --category dress --catalog summer
  lookalike import shop/products.jsonl"""
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
PRODUCTS_EXAMPLES = """\
examples:
  lookalike products list --filter 'brand = "Mira"'
  lookalike products get sku-1 --json
  lookalike products delete sku-1 sku-2"""

Region = tuple[float, float, float, float]


def region(text: str) -> Region:
    """`x0,y0,x1,y1` as four numbers of 0..1."""
    try:
        x0, y0, x1, y1 = (float(part) for part in text.split(","))
    except ValueError:
        x0 = y0 = x1 = y1 = math.nan
    if not (0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no region; write x0,y0,x1,y1 as shares of the photo, such as 0.2,0.1,0.8,0.6"
        )
    return x0, y0, x1, y1


def seconds(text: str) -> float:
    """A positive number."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; write seconds, such as 30")
    return value


def count(text: str) -> int:
    """A whole number of 0 or more."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of 0 or more")
    return int(text)


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
    _add_import(commands, common)
    _add_search(commands, common)
    _add_analyze(commands, common)
    _add_similar(commands, common)
    _add_products(commands, common)
    return parser


def _version() -> str:
    try:
        return importlib.metadata.version("lookalike")
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


Commands = argparse._SubParsersAction  # the only name that argparse gives it


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


def _command(
    commands: Commands[argparse.ArgumentParser],
    common: argparse.ArgumentParser,
    name: str,
    summary: str,
    *,
    description: str = "",
    examples: str = "",
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        parents=[common],
        help=summary,
        description=description or f"{summary[0].upper()}{summary[1:]}.",
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _add_import(commands: Commands[argparse.ArgumentParser], common: argparse.ArgumentParser) -> None:
    summary = "load products from a folder of images, a CSV or a JSON-lines file"
    parser = _command(commands, common, "import", summary, description=IMPORT_HELP, examples=IMPORT_EXAMPLES)
    parser.add_argument("path", metavar="PATH")
    parser.add_argument("--category", metavar="NAME", default="", help="for products that name none of their own")


def _add_search(commands: Commands[argparse.ArgumentParser], common: argparse.ArgumentParser) -> None:
    summary = "find products that look like the garments of a photo"
    parser = _command(commands, common, "search", summary, examples=SEARCH_EXAMPLES)
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
    _add_photo(_command(commands, common, "analyze", summary, examples=ANALYZE_EXAMPLES))


def _add_similar(commands: Commands[argparse.ArgumentParser], common: argparse.ArgumentParser) -> None:
    parser = _command(commands, common, "similar", "find products that look like a product of the catalog")
    parser.add_argument("product", metavar="ID")
    _add_hits(parser)
    _add_json(parser)


def _add_products(commands: Commands[argparse.ArgumentParser], common: argparse.ArgumentParser) -> None:
    summary = "get, list or delete products"
    products = _command(commands, common, "products", summary, examples=PRODUCTS_EXAMPLES)
    actions = products.add_subparsers(dest="action", metavar="ACTION", required=True)
    get = _command(actions, common, "get", "show one product")
    get.add_argument("product", metavar="ID")
    _add_json(get)
    listing = _command(actions, common, "list", "list products in the order of their ids")
    listing.add_argument("--filter", metavar="FILTER", default="", help="only these, such as 'price < 5000'")
    listing.add_argument("--limit", metavar="N", type=count, default=50, help="at most N; 0 means all (default: 50)")
    _add_json(listing)
    delete = _command(actions, common, "delete", "delete products with their images")
    delete.add_argument("products", metavar="ID", nargs="+")
    delete.add_argument("--missing-ok", action="store_true", help="a product that is gone already is no error")


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
    _add_json(parser)


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


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the answer as JSON and nothing else")
