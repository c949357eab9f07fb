"""The Parquet files of a bulk load: parts of a catalog, and products with their vectors."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from types import SimpleNamespace
from typing import Any, Final, cast

import pyarrow
import pyarrow.parquet
from sqlalchemy import Row as TableRow

from lookalike.catalogs import Row
from lookalike.catalogs.locations import Location
from lookalike.catalogs.rows import Entry, ImageReference
from lookalike.v1.product_pb2 import Product as ProductMessage
from lookalike_service.bulk.folder import Folder
from lookalike_service.bulk.manifest import Manifest, plan_name, vectors_name
from lookalike_service.errors import StartupError
from lookalike_service.model import Product
from lookalike_service.records import image_rows, product_of, product_row, view_rows

__all__ = ["Failure", "Part", "PlannedPart", "read_plan", "read_vectors", "write_plan", "write_vectors"]

TEXT, WHOLE, BYTES = pyarrow.string(), pyarrow.int64(), pyarrow.binary()
BOX = pyarrow.list_(pyarrow.float64())
# In the Parquet's own metadata: whose vectors these are.
OWNER: Final = b"lookalike"

PLAN_SCHEMA = pyarrow.schema(
    {
        "row": WHOLE,
        "label": TEXT,
        "product": BYTES,
        "images": pyarrow.list_(
            pyarrow.struct({"location": TEXT, "content": BYTES, "hint_category": TEXT, "hint_box": BOX})
        ),
    }
)
VECTORS_SCHEMA = pyarrow.schema(
    {
        "row": WHOLE,
        "label": TEXT,
        "failure": TEXT,
        **dict.fromkeys(("id", "title", "brand", "category"), TEXT),
        "price": WHOLE,
        "currency": TEXT,
        "available": pyarrow.bool_(),
        "uri": TEXT,
        "attributes": TEXT,
        "revision": WHOLE,
        "updated": WHOLE,
        "images": pyarrow.list_(pyarrow.struct({"sha256": TEXT, "hint_category": TEXT, "hint_box": BOX})),
        "views": pyarrow.list_(
            pyarrow.struct(
                {
                    **dict.fromkeys(("id", "image_sha256", "category", "colours"), TEXT),
                    "shares": pyarrow.list_(pyarrow.float64()),
                    "pattern": TEXT,
                    **dict.fromkeys(("x0", "y0", "x1", "y1"), pyarrow.float64()),
                    "embedding_version": pyarrow.int32(),
                    "embedding": BYTES,
                }
            )
        ),
    }
)


@dataclass(frozen=True, slots=True)
class Failure:
    """A row of the catalog file that did not become a product, and why."""

    row: int
    label: str
    reason: str


@dataclass(frozen=True, slots=True)
class Part:
    """Products as they are to be stored, with what became of the other rows.

    Their `update_time` is when their photographs were looked at; a revision of 0 is still to be counted.
    """

    products: tuple[Product, ...]
    # Row and label in the catalog file, by the product's id.
    places: Mapping[str, tuple[int, str]]
    failures: tuple[Failure, ...]


@dataclass(frozen=True, slots=True)
class PlannedPart:
    """A part of a catalog file; `base` is what its images are relative to."""

    base: Location
    table: pyarrow.Table

    def rows(self) -> Iterator[Row]:
        """Its rows, as the catalog gave them."""
        for fields in self.table.to_pylist():
            product = ProductMessage.FromString(fields["product"])
            yield Row(fields["row"], fields["label"], None, Entry(product, tuple(map(_reference, fields["images"]))))


def write_plan(folder: Folder, part: int, rows: Sequence[Row]) -> None:
    """Write the products of a part down as the catalog has them. Raises StartupError."""
    table = [
        {
            "row": row.number,
            "label": row.label.encode("utf-8", "replace").decode(),
            "product": row.entry.product.SerializeToString() if row.entry.product else None,
            "images": [_plain(image) for image in row.entry.images],
        }
        for row in rows
    ]
    folder.write(plan_name(part), _parquet(pyarrow.Table.from_pylist(table, schema=PLAN_SCHEMA)))


def read_plan(folder: Folder, part: int, *, base: Location) -> PlannedPart:
    """A part of the plan. Raises StartupError when it is not there as this machine sees the folder."""
    return PlannedPart(base, _read(folder, plan_name(part)))


def write_vectors(
    folder: Folder, part: int, results: Sequence[tuple[Row, Product | str]], *, manifest: Manifest
) -> None:
    """Write what became of each row, a product with its views or the reason of a failure. Raises StartupError."""
    rows = []
    for row, result in results:
        fields: dict[str, Any] = {"row": row.number, "label": row.label}
        if isinstance(result, str):
            fields["failure"] = result
        else:
            fields |= product_row(result)
            fields["attributes"] = json.dumps(fields["attributes"])
            fields |= {"images": image_rows(result), "views": view_rows(result)}
        rows.append(fields)
    schema = VECTORS_SCHEMA.with_metadata({OWNER: manifest.owner})
    folder.write(vectors_name(part), _parquet(pyarrow.Table.from_pylist(rows, schema=schema)))


def read_vectors(folder: Folder, part: int, *, manifest: Manifest) -> Part:
    """The products and failures of a part. Raises StartupError when it is absent, damaged, or of something else."""
    name = vectors_name(part)
    table = _read(folder, name)
    if (table.schema.metadata or {}).get(OWNER) != manifest.owner:
        raise StartupError(
            f"{name} in {folder.url} is of another catalog or embedding version; delete it and run the command again"
        )
    products: list[Product] = []
    places: dict[str, tuple[int, str]] = {}
    failures: list[Failure] = []
    for fields in table.to_pylist():
        if fields["failure"] is not None:
            failures.append(Failure(fields["row"], fields["label"], fields["failure"]))
        else:
            places[fields["id"]] = fields["row"], fields["label"]
            products.append(_product(fields, catalog=manifest.catalog))
    return Part(tuple(products), places, tuple(failures))


def _product(fields: dict[str, Any], *, catalog: str) -> Product:
    images, views = (fields.pop(name) for name in ("images", "views"))
    fields |= {"attributes": json.loads(fields["attributes"]), "catalog": catalog, "created": fields["updated"]}
    fields |= {"indexed_revision": 0, "deleted": False}
    return product_of(_table_row(fields), images=map(_table_row, images), views=map(_table_row, views))


def _table_row(fields: dict[str, Any]) -> TableRow[Any]:
    # The columns are those of the database, and so is what reads them.
    return cast("TableRow[Any]", SimpleNamespace(**fields))


def _plain(image: ImageReference) -> dict[str, object]:
    inline = isinstance(image.location, bytes)
    is_box = image.hint is not None and not isinstance(image.hint, str)
    return {
        "content" if inline else "location": image.location,
        "hint_category": None if is_box else image.hint,
        "hint_box": list(cast("Sequence[float]", image.hint)) if is_box else None,
    }


def _reference(fields: dict[str, Any]) -> ImageReference:
    x0, y0, x1, y1 = fields["hint_box"] or (0.0, 0.0, 0.0, 0.0)
    hint = (x0, y0, x1, y1) if fields["hint_box"] else fields["hint_category"]
    return ImageReference(fields["location"] if fields["content"] is None else fields["content"], hint)


def _parquet(table: pyarrow.Table) -> bytes:
    buffer = BytesIO()
    pyarrow.parquet.write_table(table, buffer)
    return buffer.getvalue()


def _read(folder: Folder, name: str) -> pyarrow.Table:
    content = folder.read(name)
    if content is None:
        raise StartupError(
            f"{name} is not in {folder.url} as this machine sees it; with workers on other machines, --out must name a "
            "place that all of them reach, such as s3://bucket/folder"
        )
    try:
        return pyarrow.parquet.read_table(BytesIO(content))
    except (pyarrow.ArrowException, OSError) as error:
        raise StartupError(
            f"{name} in {folder.url} is damaged ({type(error).__name__}); delete it and run the command again"
        ) from error
