"""The commands that look for products: what they understand, and the help that teaches it."""

from __future__ import annotations

import argparse

from lookalike.cli.parser import Commands, Parser, add_command
from lookalike.cli.parsing import add_json, add_ranking, count, region

__all__ = ["add_analyze", "add_search", "add_similar"]

SEARCH_HELP = """\
Finds every garment of a photo, and for each the products of the catalog that look like it, best first. A line says
what the garment is; below it stand its products with their scores: 1 is the same picture, and on a terminal scores
from 0.8 are green and from 0.6 yellow. Where no garment is in sight, the whole photo counts as one."""
SEARCH_EXAMPLES = """\
  lookalike search street.jpg
  lookalike search street.jpg --region 0.2,0.1,0.8,0.6
  lookalike search street.jpg --filter 'category = "dress" AND price < 10000' --page-size 5
  lookalike search street.jpg --json | jq '.results[].hits[0].product.name'
  lookalike search street.jpg --save found.png --images .lookalike/images"""
ANALYZE_HELP = """\
Finds and describes every garment of a photo: where it is, what it is, its colors, pattern and material. Nothing is
searched, so the catalog may be empty. Boxes are shares of the upright photo, from the top left, as --region takes
them."""
ANALYZE_EXAMPLES = """\
  lookalike analyze street.jpg
  lookalike analyze street.jpg --save garments.png
  lookalike analyze street.jpg --json | jq '.garments[].category'"""
SIMILAR_HELP = """\
Finds the products that look like a product of the catalog, by the vectors that are stored with it. No model runs, so
the answer takes a few milliseconds. The product itself is not among them."""
SIMILAR_EXAMPLES = """\
  lookalike similar sku-1
  lookalike similar sku-1 --filter 'price < 5000 AND available' --page-size 5
  lookalike similar sku-1 --category-mode strict --json | jq '.hits[].product.name'"""


def add_search(commands: Commands[Parser], common: Parser) -> None:
    """`lookalike search`."""
    summary = "find products that look like the garments of a photo"
    parser = add_command(commands, common, "search", summary, description=SEARCH_HELP, examples=SEARCH_EXAMPLES)
    _add_photo(parser)
    _add_hits(parser)
    _add_version(parser)
    parser.add_argument(
        "--images",
        metavar="FOLDER",
        default="",
        help="for --save: the folder in which a server on this machine keeps its images",
    )


def add_analyze(commands: Commands[Parser], common: Parser) -> None:
    """`lookalike analyze`."""
    summary = "find and describe the garments of a photo, without a search"
    parser = add_command(commands, common, "analyze", summary, description=ANALYZE_HELP, examples=ANALYZE_EXAMPLES)
    _add_photo(parser)
    _add_version(parser)


def add_similar(commands: Commands[Parser], common: Parser) -> None:
    """`lookalike similar`."""
    summary = "find products that look like a product of the catalog"
    parser = add_command(commands, common, "similar", summary, description=SIMILAR_HELP, examples=SIMILAR_EXAMPLES)
    parser.add_argument("product", metavar="ID", help="the product's id")
    _add_hits(parser)
    _add_version(parser)
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


def _add_version(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--embedding-version", metavar="N", type=count, default=0, help="by this version (default: the server chooses)"
    )


def _add_hits(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--filter", metavar="FILTER", default="", help="only these products, such as 'price < 5000'")
    parser.add_argument("--page-size", metavar="N", type=count, default=0, help="products per garment (default: 10)")
    parser.add_argument("--min-score", metavar="SCORE", type=float, default=0.0, help="only hits of this score or more")
    add_ranking(parser)
