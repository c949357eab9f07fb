"""What `lookalike bulk` understands, and the help that teaches it."""

from __future__ import annotations

import argparse

__all__ = ["EXAMPLES", "add_bulk"]

DESCRIPTION = """\
Loads a large catalog in two steps that run side by side. Workers of Ray read photographs, have the Tritons look at
them, and write Parquet files of products with their vectors into a folder. This command takes each file as soon as
it is there, and writes its products to database and index.

PATH is what `lookalike import` reads: a folder of images, or a .csv, .jsonl or .parquet file, here or at an address.
Unlike import, this command needs no gateway but reaches Triton, database, Milvus and image store itself, with the
environment of a gateway (LOOKALIKE_DATABASE_URL, LOOKALIKE_MILVUS_URI, LOOKALIKE_IMAGES_URL, ...). Gateways may serve
meanwhile. LOOKALIKE_BULK_TRITON_ADDRESSES names the Tritons, separated by commas.

Interrupt it when you like. The same command goes on from there: files that are in the folder are not made again,
products that are stored are not written again. A row that fails is reported with its place, and the others go on; all
that failed are written to a file of the catalog's own form with one more column, "failure": mend it, and import it."""
EXAMPLES = """\
examples:
  lookalike bulk products.parquet                            on this machine
  lookalike bulk s3://shop/products.jsonl --out s3://shop/vectors-1
  lookalike bulk products.csv --out /mnt/shared/vectors-1 --address 10.0.0.1:6379 --workers 64
  lookalike bulk products.csv --only embed                   no database yet: fill the folder
  lookalike bulk products.csv --only load                    no Triton any more: load what is in the folder

exit codes: 0 all loaded, 1 it could not be done (the sentence says why), 2 wrong usage,
3 done, but some products failed"""


def add_bulk(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command's parser."""
    parser = commands.add_parser(
        "bulk",
        prog="lookalike bulk",
        help="load a large catalog as a Ray job",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("path", metavar="PATH")
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        default="",
        help="where the files with vectors go, a path or an address; with workers on other machines a place that all "
        "of them reach (default: NAME-vectors in this folder)",
    )
    parser.add_argument(
        "--address",
        metavar="HOST:PORT",
        default="",
        help="a Ray cluster, or auto for the one of this node (default: Ray on this machine, for this command only)",
    )
    parser.add_argument(
        "--workers", metavar="N", type=_positive, default=0, help="processes that embed (default: one per CPU of Ray)"
    )
    parser.add_argument(
        "--in-flight", metavar="N", type=_positive, default=16, help="products that a worker has looked at at once (16)"
    )
    parser.add_argument(
        "--part",
        metavar="N",
        type=_positive,
        default=500,
        help="products per file, the most that a lost worker costs (500)",
    )
    parser.add_argument("--only", choices=("embed", "load"), default="", help="one of the two steps")
    parser.add_argument(
        "--catalog", metavar="ID", default="default", help="the catalog of the server (default: default)"
    )
    parser.add_argument("--category", metavar="NAME", default="", help="for products that name none of their own")
    parser.add_argument(
        "--failures",
        metavar="FILE",
        default="",
        help="where failed rows are written (default: NAME-failures.csv in this folder, a new file every time)",
    )


def _positive(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 1_000_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of 1 or more")
    return int(text)
