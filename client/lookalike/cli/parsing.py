"""Arguments as values, and the options that several commands have."""

from __future__ import annotations

import argparse
import math
import re

from lookalike.currencies import CURRENCIES
from lookalike.unreachable import check_target
from lookalike.values import box_from_text

__all__ = [
    "add_json",
    "add_ranking",
    "address",
    "at_least_one",
    "attribute",
    "count",
    "currency",
    "price",
    "region",
    "seconds",
    "weight",
]

Region = tuple[float, float, float, float]

LARGEST_PRICE = 2**53


def address(text: str) -> str:
    """Where a server listens."""
    try:
        check_target(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}, here or in LOOKALIKE_SERVER") from error
    return text


def region(text: str) -> Region:
    """`x0,y0,x1,y1` as four numbers of 0..1."""
    try:
        return box_from_text(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def seconds(text: str) -> float:
    """A positive number."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; write seconds, such as 30")
    return value


def weight(text: str) -> float:
    """A number of 0..1."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no weight; write a number of 0 to 1")
    return value


def count(text: str) -> int:
    """A whole number of 0 or more."""
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of 0 or more")
    return int(text)


def at_least_one(text: str) -> int:
    """A whole number of 1 or more."""
    value = count(text)
    if value < 1:
        raise argparse.ArgumentTypeError("there must be at least 1")
    return value


def price(text: str) -> int:
    """An amount in the smallest unit of a currency."""
    if not re.fullmatch(r"[0-9]{1,16}", text) or int(text) > LARGEST_PRICE:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no price; write it in minor units as a whole number (1999 for 19.99 euros)"
        )
    return int(text)


def currency(text: str) -> str:
    """A code of ISO 4217."""
    if text not in CURRENCIES:
        raise argparse.ArgumentTypeError(f"{text!r} is no currency; write a code of ISO 4217, such as EUR")
    return text


def attribute(text: str) -> tuple[str, str]:
    """`KEY=VALUE`; the value may be empty."""
    key, equals, value = text.partition("=")
    if not equals or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,63}", key):
        raise argparse.ArgumentTypeError(f"{text!r} is no attribute; write KEY=VALUE, such as fit=slim")
    return key, value


def add_json(parser: argparse._ActionsContainer) -> None:
    """The option for programs that read the answer."""
    parser.add_argument("--json", action="store_true", help="print the answer as JSON and nothing else")


def add_ranking(parser: argparse._ActionsContainer) -> None:
    """The options that change which products come first."""
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
