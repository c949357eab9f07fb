"""The commands that keep a catalog: what they understand, and the help that teaches it."""

from __future__ import annotations

import argparse

from lookalike.cli.parser import Commands, Parser, add_command
from lookalike.cli.parsing import add_json, attribute, count, currency, price, seconds

__all__ = ["CLEARABLE", "add_import", "add_products"]

CLEARABLE = ("title", "brand", "category", "price", "uri", "attributes", "images")

IMPORT_HELP = """\
Adds products to a catalog and replaces those that are there. What has not changed costs next to nothing, so after
an interruption simply run the same command again.

PATH is a path of this machine, or an address (https://, s3://, gs://, az://) of
  a folder of images   every JPEG, PNG and WebP in it and its subfolders is a product. Its id is the path, its title
                       the file's name, its category a subfolder that is called like one ("dresses/"); otherwise
                       the model decides. A folder with a products.jsonl, .csv or .parquet is read from that file.
                       (https:// has no folders)
  a .csv file          columns id, title, brand, category, price (in cents), currency, available, uri,
                       images (several separated by |) and attributes.KEY; only id and images are required
  a .jsonl file        the same fields, one object per line:
                       {"id": "sku-1", "title": "Linen dress", "price": 4900, "currency": "EUR",
                        "attributes": {"fit": "slim"}, "images": ["images/1.jpg"]}
  a .parquet file      the same columns; images may be a list, attributes a map or a struct

Images are paths relative to the file, or addresses, which this command fetches (the server never does). Parquet and
addresses need pip install 'lookalike[import]'. Credentials come from where the stores' own tools look: AWS_PROFILE,
AWS_ACCESS_KEY_ID, ~/.aws; FSSPEC_S3='{"endpoint_url": "http://minio:9000"}' for a store of your own,
FSSPEC_S3='{"anon": true}' for public buckets.

A product that fails is reported with its row, and the others go on. All that failed are written to a file of the same
form with one more column, "failure": mend it, and import it."""
IMPORT_EXAMPLES = """\
  lookalike import shop/products.csv --dry-run      check every row and image, send nothing
  lookalike import shop/products.csv
  lookalike import products-failures.csv            what failed, after it was mended
  lookalike import dresses/ --category dress --catalog summer
  lookalike import https://shop.example/feed/products.jsonl
  lookalike import s3://shop/catalog/products.parquet --fetches 32"""
IMPORT_EXITS = "0 all imported, 1 some products failed (--dry-run: have problems)"
PRODUCTS_HELP = """\
Looks after single products, by their ids. For many of them, `lookalike import` is the command: it reads files, and what
has not changed costs it next to nothing."""
PRODUCTS_EXAMPLES = """\
  lookalike products list --filter 'brand = "Mira" AND available'
  lookalike products get sku-1 --json
  lookalike products update sku-1 --price 3900
  lookalike products update sku-1 sku-2 --unavailable
  lookalike products create sku-3 --title 'Linen dress' --price 4900 --currency EUR --image dress.jpg
  lookalike products delete sku-1 sku-2"""
GET_HELP = """\
Shows all that is known of one product: its fields, its images with the garments that were found on them, its
revision."""
GET_EXAMPLES = """\
  lookalike products get sku-1
  lookalike products get sku-1 --json | jq .product.images"""
LIST_HELP = """\
Lists the products of a catalog in the order of their ids. --json and --jsonl have all their fields; --jsonl writes
line by line while they arrive, so it suits catalogs of any size."""
LIST_EXAMPLES = """\
  lookalike products list
  lookalike products list --filter 'brand = "Mira" AND price < 5000' --limit 20
  lookalike products list --limit 0 --jsonl > products.jsonl"""
DELETE_HELP = """\
Deletes products with their images and vectors. It goes on after a product that is not there, and says so at the end
with exit code 3."""
DELETE_EXAMPLES = """\
  lookalike products delete sku-1
  lookalike products delete sku-1 sku-2 --missing-ok"""
UPDATE_HELP = """\
Changes what is named and leaves everything else as it is. Models run only for new images."""
UPDATE_EXAMPLES = """\
  lookalike products update sku-1 --price 3900                    the currency stays
  lookalike products update sku-1 sku-2 sku-3 --unavailable
  lookalike products update sku-1 --attribute fit=slim --attribute season=
  lookalike products update sku-1 --image front.jpg --image back.jpg
  lookalike products update sku-1 --clear price --clear uri"""
CREATE_HELP = """\
Adds a product that is not there yet; an existing one is an error. For many products, import is the command."""
CREATE_EXAMPLES = """\
  lookalike products create sku-3 --title 'Linen dress' --price 4900 --currency EUR --image dress.jpg"""


def add_import(commands: Commands[Parser], common: Parser) -> None:
    """`lookalike import`."""
    summary = "load products from a folder of images, a CSV, JSON-lines or Parquet file"
    parser = add_command(
        commands, common, "import", summary, description=IMPORT_HELP, examples=IMPORT_EXAMPLES, exits=IMPORT_EXITS
    )
    parser.add_argument("path", metavar="PATH", help="a folder, a file or an address of one")
    parser.add_argument("--category", metavar="NAME", default="", help="for products that name none of their own")
    parser.add_argument(
        "--dry-run", action="store_true", help="read and check everything, report all problems, send nothing"
    )
    parser.add_argument(
        "--failures",
        metavar="FILE",
        default="",
        help="where failed products are written (default: NAME-failures.csv in this folder, a new file every time)",
    )
    parser.add_argument("--fetches", metavar="N", type=_at_least_one, default=16, help="images read at once (16)")
    parser.add_argument(
        "--fetch-timeout", metavar="SECONDS", type=seconds, default=30.0, help="for one image from an address (30)"
    )


def _at_least_one(text: str) -> int:
    return max(count(text), 1)


def add_products(commands: Commands[Parser], common: Parser) -> None:
    """`lookalike products` with its actions."""
    summary = "get, list, create, update or delete products"
    products = add_command(commands, common, "products", summary, description=PRODUCTS_HELP, examples=PRODUCTS_EXAMPLES)
    actions = products.add_subparsers(dest="action", metavar="ACTION", required=True)
    get = add_command(actions, common, "get", "show one product", description=GET_HELP, examples=GET_EXAMPLES)
    get.add_argument("product", metavar="ID", help="the product's id")
    add_json(get)
    summary = "list products in the order of their ids"
    listing = add_command(actions, common, "list", summary, description=LIST_HELP, examples=LIST_EXAMPLES)
    listing.add_argument("--filter", metavar="FILTER", default="", help="only these, such as 'price < 5000'")
    listing.add_argument("--limit", metavar="N", type=count, default=50, help="at most N; 0 means all (default: 50)")
    forms = listing.add_mutually_exclusive_group()
    add_json(forms)
    forms.add_argument("--jsonl", action="store_true", help="print one line of JSON per product, as they arrive")
    create = add_command(
        actions, common, "create", "add one product", description=CREATE_HELP, examples=CREATE_EXAMPLES
    )
    create.add_argument("product", metavar="ID", help="of the new product: letters, digits and . _ ~ -")
    _add_fields(create)
    summary = "change fields of products"
    update = add_command(actions, common, "update", summary, description=UPDATE_HELP, examples=UPDATE_EXAMPLES)
    update.add_argument("products", metavar="ID", nargs="+", help="the ids of the products")
    _add_fields(update)
    update.add_argument(
        "--clear",
        metavar="FIELD",
        choices=CLEARABLE,
        action="append",
        default=[],
        help=f"one of {', '.join(CLEARABLE)}",
    )
    update.add_argument("--allow-missing", action="store_true", help="create a product that is not there")
    summary = "delete products with their images"
    delete = add_command(actions, common, "delete", summary, description=DELETE_HELP, examples=DELETE_EXAMPLES)
    delete.add_argument("products", metavar="ID", nargs="+", help="the ids of the products")
    delete.add_argument("--missing-ok", action="store_true", help="a product that is gone already is no error")


def _add_fields(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("fields")
    group.add_argument("--title", metavar="TEXT")
    group.add_argument("--brand", metavar="TEXT")
    group.add_argument("--category", metavar="NAME", help="such as dress, or top/t-shirt")
    group.add_argument("--price", metavar="AMOUNT", type=price, help="in minor units: 1999 is 19.99 euros")
    group.add_argument("--currency", metavar="CODE", type=currency, help="such as EUR")
    either = group.add_mutually_exclusive_group()
    either.add_argument("--available", action="store_true", default=None)
    either.add_argument("--unavailable", action="store_false", dest="available", help="sold out: still there")
    group.add_argument("--uri", metavar="ADDRESS", help="the product's page in the shop")
    group.add_argument(
        "--attribute",
        metavar="KEY=VALUE",
        type=attribute,
        action="append",
        default=[],
        dest="attributes",
        help="numbers, true and false are such; without a value it is taken away; may be given several times",
    )
    group.add_argument(
        "--image",
        metavar="FILE",
        action="append",
        default=[],
        dest="images",
        help="a file or an address, in place of all images; may be given up to 16 times",
    )
    add_json(parser)
