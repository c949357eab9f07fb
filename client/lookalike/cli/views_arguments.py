"""The commands for what is viewed together: what they understand, and the help that teaches it."""

from __future__ import annotations

from lookalike.cli.parser import Commands, Parser, add_command
from lookalike.cli.parsing import add_json, count, weight

__all__ = ["add_also_viewed", "add_views"]

ALSO_VIEWED_HELP = """\
Lists the products that were looked at in the same sessions as a product. It counts views that the shop has reported
(`lookalike views import`); where there are few, products that look alike fill the list, and a column says which each
is."""
ALSO_VIEWED_EXAMPLES = """\
  lookalike also-viewed sku-1
  lookalike also-viewed sku-1 --filter 'available' --page-size 5
  lookalike also-viewed sku-1 --similarity-share 0.5    looks count as much as views"""
IMPORT_HELP = """\
Tells the server who looked at what. A view that it has already counts once, so after an interruption simply run the
same command again.

FILE is
  a .csv file          with the columns product, session and time
  a .jsonl file        the same fields, one object per line:
                       {"product": "sku-1", "session": "visit-17", "time": "2026-11-26T09:30:00Z"}

A product is named by its id; a session is whatever the shop calls a visit, which the server keeps only as a keyed hash;
a time is as in ISO 8601, UTC where it names no zone, or seconds since 1970. Rows that do not parse are reported with
their line, and the others go on."""
VIEWS_HELP = """\
Tells the server which products were looked at in one session, which is all that also-viewed knows, and takes it
back."""
VIEWS_EXAMPLES = """\
  lookalike views import yesterday.csv
  lookalike views forget visit-17                 as whoever looked may ask for"""
IMPORT_EXAMPLES = """\
  lookalike views import yesterday.csv
  lookalike views import yesterday.jsonl --catalog summer --json"""
FORGET_HELP = """\
Deletes the views of sessions, as whoever looked may ask for. Lists that they have shaped are made anew within a minute.
A session without views is no error."""
FORGET_EXAMPLES = """\
  lookalike views forget visit-17
  lookalike views forget visit-17 visit-18"""
VIEWS_EXITS = "0 all views count, 1 some do not"


def add_also_viewed(commands: Commands[Parser], common: Parser) -> None:
    """`lookalike also-viewed`."""
    summary = "list products that were viewed in the same sessions as a product"
    parser = add_command(
        commands, common, "also-viewed", summary, description=ALSO_VIEWED_HELP, examples=ALSO_VIEWED_EXAMPLES
    )
    parser.add_argument("product", metavar="ID", help="the product's id")
    parser.add_argument("--filter", metavar="FILTER", default="", help="only these products, such as 'price < 5000'")
    parser.add_argument("--page-size", metavar="N", type=count, default=0, help="how many products (default: 10)")
    parser.add_argument(
        "--similarity-share",
        metavar="W",
        type=weight,
        default=0.0,
        help="0..1: how much looks count beside views (default: 0, where they only fill the list)",
    )
    add_json(parser)


def add_views(commands: Commands[Parser], common: Parser) -> None:
    """`lookalike views` with its actions."""
    summary = "report views of products, or forget those of a session"
    views = add_command(
        commands, common, "views", summary, description=VIEWS_HELP, examples=VIEWS_EXAMPLES, exits=VIEWS_EXITS
    )
    actions = views.add_subparsers(dest="action", metavar="ACTION", required=True)
    summary = "report the views of a CSV or JSON-lines file"
    importing = add_command(
        actions, common, "import", summary, description=IMPORT_HELP, examples=IMPORT_EXAMPLES, exits=VIEWS_EXITS
    )
    importing.add_argument("path", metavar="FILE", help="a .csv or .jsonl file")
    add_json(importing)
    forgetting = add_command(
        actions, common, "forget", "delete the views of sessions", description=FORGET_HELP, examples=FORGET_EXAMPLES
    )
    forgetting.add_argument("sessions", metavar="SESSION", nargs="+", help="what the shop calls the visit")
