"""The command that measures a server: what it understands, and the help that teaches it."""

from __future__ import annotations

import argparse
import math

from lookalike.cli.parser import Commands, Parser, add_command
from lookalike.cli.parsing import add_json, at_least_one, count, seconds

__all__ = ["add_bench"]

HELP = """\
Puts load on a running server and says how fast it answers, and where the time goes.

  --callers N   closed loop: N callers, each asks again when it has its answer. Says how much the server can do; its
                latencies are those of callers who politely wait, and a stall delays only the N who are caught in it.
  --rate R      open loop: requests come at random moments, R per second on average, whether or not earlier ones are
                answered, as they come from the world. Latency counts from the moment at which a request was due.
  --p99 MS      finds the highest rate at which 99 % of the requests are answered within MS milliseconds: doubles the
                rate until they are not, then narrows it down to 5 %.

PHOTOS is a folder (or one photo); its photos are read before the run and sent in turn, each time as if they were new
(see --repeat-photos). Errors are counted by code and shown above the latencies, which are those of the answers that
were OK. Nothing is tried again."""
EXAMPLES = """\
  lookalike bench street/                                   4 callers for 10 s
  lookalike bench street/ --callers 1 --callers 4 --callers 16
  lookalike bench street/ --rate 20 --seconds 60 --triton http://127.0.0.1:8000
  lookalike bench street/ --p99 300 --save bench.png        the most that it does within 300 ms
  lookalike bench street/ --method token --rate 200         searches without models, as for pages and filters
  lookalike bench --method similar --callers 8 --json | jq '.runs[0].latency_ms'"""
EXITS = "0 all was answered OK (--p99: a rate was found), 1 some was not"


def add_bench(commands: Commands[Parser], common: Parser) -> None:
    """`lookalike bench`."""
    summary = "measure how fast a server answers, and how much it can do"
    parser = add_command(commands, common, "bench", summary, description=HELP, examples=EXAMPLES, exits=EXITS)
    parser.add_argument("path", metavar="PHOTOS", nargs="?", default="", help="needed by all methods but similar")
    _add_load(parser)
    _add_requests(parser)
    group = parser.add_argument_group("results")
    group.add_argument(
        "--triton",
        metavar="URL",
        default="",
        help="the HTTP address of the server's Triton, such as http://127.0.0.1:8000: take its stages apart, too",
    )
    group.add_argument("--save", metavar="FILE", default="", help="draw the result into a PNG, SVG or PDF")
    add_json(group)


def _add_load(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("load")
    load = group.add_mutually_exclusive_group()
    load.add_argument(
        "--callers",
        metavar="N",
        type=at_least_one,
        action="append",
        help="so many at once; may be given several times (default: 4)",
    )
    load.add_argument(
        "--rate",
        metavar="R",
        type=_positive,
        action="append",
        help="requests per second; may be given several times",
    )
    load.add_argument("--p99", metavar="MS", type=_positive, help="look for the highest rate of that 99th percentile")
    group.add_argument("--lowest", metavar="R", type=_positive, default=1.0, help="--p99 begins with this rate (1)")
    group.add_argument("--highest", metavar="R", type=_positive, default=10_000.0, help="and ends with it (10000)")
    group.add_argument(
        "--tries", metavar="N", type=at_least_one, default=1, help="it takes N runs to find a rate too high (1)"
    )
    group.add_argument("--seconds", metavar="S", type=seconds, default=10.0, help="for each run (10)")
    group.add_argument("--warmup", metavar="S", type=_not_negative, default=2.0, help="before it, not counted (2)")
    group.add_argument(
        "--in-time", metavar="MS", type=_positive, help="also count the answers per second that took no longer"
    )
    group.add_argument("--seed", metavar="N", type=count, default=0, help="of the random moments (0)")
    group.add_argument("--connections", metavar="N", type=at_least_one, default=1, help="to the server (1)")


def _add_requests(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("requests")
    group.add_argument(
        "--method",
        choices=("search", "analyze", "token", "similar"),
        default="search",
        help="search with photos, analyze them, search with garment tokens taken from them before the run, or ask for "
        "what looks like products of the catalog (default: search)",
    )
    group.add_argument(
        "--photos", metavar="N", type=at_least_one, default=200, help="take N, evenly, of a larger folder (200)"
    )
    group.add_argument(
        "--repeat-photos",
        action="store_true",
        help="send the same bytes again and again, like shoppers at one film; otherwise each photo gets a new "
        "tail that no decoder reads, so that no server can remember what is on it",
    )
    group.add_argument("--page-size", metavar="N", type=count, default=0, help="products per garment (10)")
    group.add_argument("--filter", metavar="FILTER", default="", help="only these products, such as 'price < 5000'")
    group.add_argument("--max-garments", metavar="N", type=count, default=0, help="per photo, the surest first (16)")


def _not_negative(text: str) -> float:
    return 0.0 if text in ("0", "0.0") else seconds(text)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return value
