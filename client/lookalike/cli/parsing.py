"""Arguments as values, and how a command is added to the parser."""

from __future__ import annotations

import argparse
import math
import re

from lookalike.currencies import CURRENCIES

__all__ = [
    "Commands",
    "add_command",
    "add_json",
    "attribute",
    "count",
    "currency",
    "price",
    "region",
    "seconds",
    "weight",
]

Region = tuple[float, float, float, float]
Commands = argparse._SubParsersAction  # the only name that argparse gives it

LARGEST_PRICE = 2**53


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


def add_command(
    commands: Commands[argparse.ArgumentParser],
    common: argparse.ArgumentParser,
    name: str,
    summary: str,
    *,
    description: str = "",
    examples: str = "",
) -> argparse.ArgumentParser:
    """A command with the options that all have; its help ends with the examples."""
    return commands.add_parser(
        name,
        parents=[common],
        help=summary,
        description=description or f"{summary[0].upper()}{summary[1:]}.",
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_json(parser: argparse._ActionsContainer) -> None:
    """The option for programs that read the answer."""
    parser.add_argument("--json", action="store_true", help="print the answer as JSON and nothing else")
