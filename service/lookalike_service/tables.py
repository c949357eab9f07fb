"""The tables of the catalog of record, and a filter tree as a condition on them."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Select,
    String,
    Table,
    Text,
    and_,
    case,
    exists,
    false,
    func,
    not_,
    or_,
    select,
)

from lookalike_service.filter import And, Comparison, Node, Not, Or, without_not

__all__ = [
    "condition",
    "embedding_versions",
    "images",
    "leases",
    "metadata",
    "outbox",
    "page",
    "page_view_counts",
    "page_views",
    "products",
    "stretch",
    "views",
]

metadata = MetaData()
# SQLite counts rows by itself only in a plain INTEGER.
Counter = BigInteger().with_variant(Integer, "sqlite")

products = Table(
    "products",
    metadata,
    Column("catalog", String(128), primary_key=True),
    Column("id", String(128), primary_key=True),
    Column("title", Text, nullable=False),
    Column("brand", Text, nullable=False),
    Column("category", Text, nullable=False),
    Column("price", BigInteger),
    Column("currency", String(3)),
    Column("available", Boolean, nullable=False),
    Column("uri", Text, nullable=False),
    Column("attributes", JSON, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("indexed_revision", BigInteger, nullable=False),
    # Microseconds since 1970, which every database keeps alike.
    Column("created", BigInteger, nullable=False),
    Column("updated", BigInteger, nullable=False),
    # A deleted product leaves its revision behind, so that a late, older write does not bring it back.
    Column("deleted", Boolean, nullable=False, server_default=false()),
)
images = Table(
    "images",
    metadata,
    Column("catalog", String(128), primary_key=True),
    Column("product_id", String(128), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("sha256", String(64), nullable=False),
    Column("hint_category", Text, nullable=False),
    Column("hint_box", JSON(none_as_null=True)),
)
views = Table(
    "views",
    metadata,
    Column("catalog", String(128), primary_key=True),
    Column("product_id", String(128), primary_key=True),
    Column("id", String(256), primary_key=True),
    Column("embedding_version", Integer, primary_key=True),
    Column("position", Integer, nullable=False),
    Column("image_sha256", String(64), nullable=False),
    Column("category", Text, nullable=False),
    # Between bars, as in |red|white|, so that one replace finds a whole word on every database.
    Column("colours", Text, nullable=False),
    # How much of the garment each of these colours covers, 0..1, in the same order.
    Column("shares", JSON, nullable=False, server_default="[]"),
    Column("pattern", Text, nullable=False),
    Column("x0", Float, nullable=False),
    Column("y0", Float, nullable=False),
    Column("x1", Float, nullable=False),
    Column("y1", Float, nullable=False),
    Column("embedding", LargeBinary, nullable=False),  # float16, little endian
)
outbox = Table(
    "outbox",
    metadata,
    Column("sequence", Counter, primary_key=True, autoincrement=True),
    Column("catalog", String(128), nullable=False),
    Column("product_id", String(128), nullable=False),
    Column("stale_views", JSON, nullable=False),
    # Otherwise SQLite gives the number of a settled entry to a new one.
    sqlite_autoincrement=True,
)
page_views = Table(
    "page_views",
    metadata,
    Column("catalog", String(128), primary_key=True),
    # A keyed hash of what the shop calls the visit. It, the product and the day are all that is kept of a visitor.
    Column("session", LargeBinary, primary_key=True),
    Column("product_id", String(128), primary_key=True),
    # Days since 1970 (UTC) of the session's latest view of the product.
    Column("day", Integer, nullable=False),
    Index("page_views_by_product", "catalog", "product_id", "day", "session"),
    sqlite_with_rowid=False,
)
page_view_counts = Table(
    "page_view_counts",
    metadata,
    Column("catalog", String(128), primary_key=True),
    Column("product_id", String(128), primary_key=True),
    Column("day", Integer, primary_key=True),
    # How many rows page_views has of the product and the day.
    Column("sessions", Integer, nullable=False),
    sqlite_with_rowid=False,
)
# The versions of each catalog's vectors, with the states of versions.py; `filled_to` is the last product that a filling
# version has got.
embedding_versions = Table(
    "embedding_versions",
    metadata,
    Column("catalog", String(128), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("state", String(16), nullable=False),
    Column("filled_to", String(128), nullable=False),
    Column("changed", BigInteger, nullable=False),
)
# Who may do alone what only one may do, and until when unless he says so again; microseconds since 1970.
leases = Table(
    "leases",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("holder", String(200), nullable=False),
    Column("until", BigInteger, nullable=False),
)

JSON_TYPES: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "sqlite": {"text": ("text",), "number": ("integer", "real"), "flag": ("true", "false")},
    "postgresql": {"text": ("string",), "number": ("number",), "flag": ("boolean",)},
}


def page(
    catalog: str,
    *,
    after: str,
    until: str | None,
    limit: int,
    filter: Node | None,
    dialect: str,
    embedding_version: int = 0,
) -> Select[Any]:
    """The products behind an id, which the primary key brings in order: no page costs more than the first.

    The filter looks at the views of that embedding version, of 0 at those of all.
    """
    query = select(products).where(
        products.c.catalog == catalog, products.c.id > after, products.c.deleted.is_(false())
    )
    if until is not None:
        query = query.where(products.c.id <= until)
    if filter is not None:
        query = query.where(condition(filter, dialect=dialect, embedding_version=embedding_version))
    return query.order_by(products.c.id).limit(limit)


def stretch(catalog: str, *, after: str, rows: int) -> Select[Any]:
    """The id `rows` further on, deleted products counted too: the primary key alone answers it."""
    here = (products.c.catalog == catalog) & (products.c.id > after)
    return select(products.c.id).where(here).order_by(products.c.id).offset(rows - 1).limit(1)


def condition(node: Node, *, dialect: str, embedding_version: int = 0) -> ColumnElement[bool]:
    """Whether any view of a product holds the filter, just as a search would find it."""
    same_product = and_(views.c.catalog == products.c.catalog, views.c.product_id == products.c.id)
    if embedding_version:
        same_product = and_(same_product, views.c.embedding_version == embedding_version)
    return exists().where(same_product, _condition(without_not(node), dialect)).correlate(products)


def _condition(node: Node, dialect: str) -> ColumnElement[bool]:
    match node:
        case And(nodes):
            return and_(*(_condition(each, dialect) for each in nodes))
        case Or(nodes):
            return or_(*(_condition(each, dialect) for each in nodes))
        case Comparison(attribute=True):
            return _attribute(node, dialect)
        case Comparison():
            return _field(node)
        case Not():
            raise ValueError("NOT is gone by now")


def _field(term: Comparison) -> ColumnElement[bool]:
    equal = term.operator in ("=", ":")
    if term.field == "category":
        # LIKE ignores case on SQLite, and text order depends on the locale of PostgreSQL.
        prefix = f"{term.value}/"
        same = or_(views.c.category == term.value, func.substr(views.c.category, 1, len(prefix)) == prefix)
        return same if equal else not_(same)
    if term.field == "colors":
        without = func.replace(views.c.colours, f"|{term.value}|", "")
        return without != views.c.colours if equal else without == views.c.colours
    if term.field == "price" and term.operator == "!=":
        return or_(products.c.price.is_(None), products.c.price != term.value)
    columns: dict[str, Column[Any]] = {
        "brand": products.c.brand,
        "price": products.c.price,
        "available": products.c.available,
        "pattern": views.c.pattern,
    }
    return _compared(columns[term.field], term)


def _attribute(term: Comparison, dialect: str) -> ColumnElement[bool]:
    """A cast of the wrong kind is an error on PostgreSQL and zero on SQLite, so the kind is asked first."""
    kind = "flag" if isinstance(term.value, bool) else "text" if isinstance(term.value, str) else "number"
    element = products.c.attributes[term.field]
    if dialect == "sqlite":
        actual: ColumnElement[Any] = func.json_type(products.c.attributes, f'$."{term.field}"')
    else:
        actual = func.json_typeof(element)
    casts: dict[str, Any] = {"flag": element.as_boolean, "text": element.as_string, "number": element.as_float}
    value: ColumnElement[Any] = casts[kind]()
    positive = Comparison(term.field, "=" if term.operator == "!=" else term.operator, term.value)
    holds = case((actual.in_(JSON_TYPES[dialect][kind]), _compared(value, positive)), else_=false())
    return not_(holds) if term.operator == "!=" else holds


def _compared(column: ColumnElement[Any], term: Comparison) -> ColumnElement[bool]:
    match term.operator:
        case "=":
            return column == term.value
        case "!=":
            return column != term.value
        case "<":
            return column < term.value
        case "<=":
            return column <= term.value
        case ">":
            return column > term.value
        case _:
            return column >= term.value
