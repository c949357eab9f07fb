"""The command that judges a server's answers: what it understands, and the help that teaches it."""

from __future__ import annotations

import argparse

from lookalike.cli.parser import Commands, Parser, add_command
from lookalike.cli.parsing import add_json, add_ranking, at_least_one, count, weight

__all__ = ["add_evaluate"]

HELP = """\
Searches with judged photos and says how good the answers are: nDCG, precision, recall, hit rate, mAP, MRR, each with a
95 % interval. Given two embedding versions, it says which is better, or that it cannot be told from so few photos.

JUDGED is a CSV file; its first line names the columns:
  photo      a path relative to the file, or an address (https://, s3://, gs://, az://)
  query_product  in place of photo: the id of a product that is asked with
  product    the id of a product of the catalog
  grade      how alike they are: 0 not at all, and 1, 2, 3 for more and more
  category   optional: which garment of the photo is meant, such as dress, or top/t-shirt
  region     optional, and surer: where it is, as "x0,y0,x1,y1", shares of the photo from the top left
  comment    optional: for people
Rows of one photo, category and region are one query. Without category and region the photo's surest garment counts.

Rows that do not parse, photos that are gone and products that the catalog does not have end the command with their
lines; --skip-problems goes on without them. A query without any relevant product is left out of the figures, and so is
counted. docs/evaluation.md says how to judge, and how to read what comes out."""
EXAMPLES = """\
  lookalike evaluate judged.csv
  lookalike evaluate judged.csv --report report.html --images .lookalike/images
  lookalike evaluate judged.csv --embedding-version 1 --embedding-version 2 --report report.html
  lookalike evaluate pairs.csv --also-viewed
  lookalike evaluate judged.csv --category-mode strict --k 5 --k 20
  lookalike evaluate judged.csv --json | jq '.versions[0].means["nDCG@10"]'"""
EXITS = "0 all was measured, 1 something was left out (--skip-problems)"


def add_evaluate(commands: Commands[Parser], common: Parser) -> None:
    """`lookalike evaluate`."""
    summary = "measure how good the answers are, by judged photos"
    parser = add_command(commands, common, "evaluate", summary, description=HELP, examples=EXAMPLES, exits=EXITS)
    parser.add_argument("path", metavar="JUDGED", help="the CSV file of judgments")
    parser.add_argument(
        "--skip-problems",
        action="store_true",
        help="leave out rows that do not parse, photos that are gone and products that the catalog does not have",
    )
    _add_search(parser)
    _add_figures(parser)
    group = parser.add_argument_group("results")
    group.add_argument("--report", metavar="FILE", default="", help="write an HTML page with the worst queries")
    group.add_argument(
        "--images",
        metavar="PLACE",
        default="",
        help="for --report: the server's image store, a folder or an address (its LOOKALIKE_IMAGES_URL; the embedded "
        "stack's is .lookalike/images), so that products have pictures",
    )
    group.add_argument("--worst", metavar="N", type=at_least_one, default=20, help="queries per chapter of it (20)")
    add_json(group)


def _add_search(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("searches")
    group.add_argument(
        "--embedding-version",
        metavar="V",
        type=at_least_one,
        action="append",
        default=[],
        dest="versions",
        help="ask for this version; given twice, both are compared (default: the server's choice)",
    )
    group.add_argument(
        "--also-viewed",
        action="store_true",
        help="with products (query_product): measure what others also viewed, not what looks alike",
    )
    group.add_argument(
        "--similarity-share",
        metavar="W",
        type=weight,
        default=0.0,
        help="0..1, for --also-viewed: how much looks count beside views (default: 0)",
    )
    group.add_argument("--filter", metavar="FILTER", default="", help="only these products, such as 'price < 5000'")
    add_ranking(group)
    group.add_argument("--callers", metavar="N", type=at_least_one, default=4, help="photos at once (4)")


def _add_figures(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("figures")
    group.add_argument(
        "--k",
        metavar="K",
        type=at_least_one,
        action="append",
        default=[],
        dest="ks",
        help="count the first K products; may be given several times, the largest decides (default: 10)",
    )
    group.add_argument(
        "--depth", metavar="N", type=at_least_one, default=100, help="products fetched per query, for mAP and MRR (100)"
    )
    group.add_argument(
        "--relevant", metavar="GRADE", type=_grade, default=1, help="the least grade of a relevant product (1)"
    )


def _grade(text: str) -> int:
    value = count(text)
    if value < 1:
        raise argparse.ArgumentTypeError("grade 0 means not alike; write 1 or more")
    return value
