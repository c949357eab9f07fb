"""Tables: colored on a terminal, plain when piped."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from google.protobuf.json_format import MessageToDict
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lookalike.formatting import (
    counted,
    garment_title,
    likely,
    one_line,
    price_text,
    product_id,
    product_title,
    source_text,
)
from lookalike.pictures.colors import garment_color
from lookalike.v1.garment_pb2 import Color, Garment
from lookalike.v1.product_pb2 import Product
from lookalike.v1.search_service_pb2 import AlsoViewedProduct, AnalyzeImageResponse, Hit, SearchProductsResponse

__all__ = ["Display", "new_table"]

# Nothing is cut off when another program reads along.
PIPED_WIDTH = 1000
LEAST_SHARE = 0.05
GOOD, FAIR = 0.8, 0.6


class Display:
    """Prints answers for people: results on stdout, progress and failures on `errors`."""

    def __init__(self) -> None:
        width = None if sys.stdout.isatty() else PIPED_WIDTH
        self._console = Console(file=sys.stdout, width=width, highlight=False)
        self.errors = Console(file=sys.stderr, highlight=False)

    def table(self, table: Table) -> None:
        """A table of `new_table`."""
        if self._console.is_terminal:
            self._console.print(table)
            return
        with self._console.capture() as capture:
            self._console.print(table)
        for line in capture.get().splitlines():
            self.line(line.rstrip())

    def line(self, text: str) -> None:
        """One line of text."""
        self._console.print(Text(text), soft_wrap=True)

    def search(self, answer: SearchProductsResponse) -> None:
        """Per garment what it is, and a table of its hits."""
        for index, result in enumerate(answer.results):
            if index:
                self._console.print()
            self._console.print(_heading(result.garment, index=index), soft_wrap=True)
            self.hits(result.hits)
        if not any(result.hits for result in answer.results):
            hint = "is the catalog empty, or the filter too narrow? `lookalike products list` shows what is there"
            self.errors.print(Text(hint, style="dim"), soft_wrap=True)

    def hits(self, hits: Sequence[Hit]) -> None:
        """A table of hits, best first."""
        if not hits:
            self.line("no products found")
            return
        table = new_table("score", "id", "title", "brand", "category", "price", right=("score", "price"))
        for hit in hits:
            style = "green" if hit.score >= GOOD else "yellow" if hit.score >= FAIR else "dim"
            table.add_row(Text(f"{hit.score:.3f}", style=style), *_cells(hit.product))
        self.table(table)

    def also_viewed(self, products: Sequence[AlsoViewedProduct]) -> None:
        """A table of products that were viewed together with one, or look like it."""
        if not products:
            self.line("no products found")
            return
        table = new_table("score", "why", "id", "title", "brand", "category", "price", right=("score", "price"))
        for each in products:
            together = each.origin == AlsoViewedProduct.ORIGIN_VIEWED_TOGETHER
            why = Text("viewed together", style="green") if together else Text("looks alike", style="dim")
            table.add_row(Text(f"{each.score:.3f}"), why, *_cells(each.product))
        self.table(table)

    def analysis(self, answer: AnalyzeImageResponse) -> None:
        """A table of garments."""
        table = new_table("", "garment", "score", "box", "colors", "pattern", "material", right=("",))
        for index, garment in enumerate(answer.garments, start=1):
            box = garment.box
            table.add_row(
                Text(str(index), style="dim"),
                Text(garment_title(garment), style="bold"),
                Text(source_text(garment)),
                Text(f"{box.x0:.3f},{box.y0:.3f},{box.x1:.3f},{box.y1:.3f}", style="dim"),
                Text(_colors(garment.colors)),
                Text(one_line(likely(garment.patterns))),
                Text(one_line(likely(garment.materials))),
            )
        self.table(table)

    def products(self, products: Sequence[Product], *, limit: int) -> None:
        """A table of products."""
        if not products:
            self.line("no products")
            return
        table = new_table("id", "title", "brand", "category", "price", right=("price",))
        for product in products:
            table.add_row(*_cells(product))
        self.table(table)
        if len(products) == limit:
            self.errors.print(Text(f"the first {counted(limit, 'product')}; --limit 0 lists all", style="dim"))

    def product(self, product: Product) -> None:
        """All that is known of one product."""
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        _, *cells, _ = _cells(product)
        available = "no (sold out)" if product.HasField("available") and not product.available else "yes"
        rows = (
            *zip(("title", "brand", "category"), cells, strict=True),
            ("price", Text(price_text(product.price))),
            ("available", Text(available)),
        )
        table.add_row(Text("name", style="dim"), Text(one_line(product.name), style="bold"))
        for name, cell in rows:
            table.add_row(Text(name, style="dim"), cell)
        table.add_row(Text("uri", style="dim"), Text(one_line(product.uri)))
        for key, value in sorted(product.attributes.items()):
            table.add_row(Text(f"attributes.{key}", style="dim"), Text(one_line(str(MessageToDict(value)))))
        for image in product.images:
            views = ", ".join(one_line(view.category) for view in image.garment_views)
            table.add_row(Text("image", style="dim"), Text(f"{image.id} {views}".strip()))
        table.add_row(Text("revision", style="dim"), Text(str(product.revision)))
        table.add_row(Text("changed", style="dim"), Text(product.update_time.ToJsonString()))
        self.table(table)


def new_table(*columns: str, right: Sequence[str] = ()) -> Table:
    """An empty table without lines; the columns named in `right` are numbers."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in columns:
        table.add_column(
            column, justify="right" if column in right else "left", no_wrap=column in ("id", "price", "box")
        )
    return table


def _cells(product: Product) -> tuple[Text, Text, Text, Text, Text]:
    sold_out = product.HasField("available") and not product.available
    price = Text("sold out", style="dim") if sold_out else Text(price_text(product.price))
    return (
        Text(one_line(product_id(product.name)), style="cyan"),
        Text(product_title(product) if product.title else "", style="bold"),
        Text(one_line(product.brand)),
        Text(one_line(product.category)),
        price,
    )


def _heading(garment: Garment, *, index: int) -> Text:
    parts = [source_text(garment), _colors(garment.colors)]
    parts += [one_line(likely(garment.patterns)), one_line(likely(garment.materials))]
    # The color that the garment has in pictures.
    red, green, blue = garment_color(index)
    heading = Text(f"{index + 1} {garment_title(garment)}", style=f"bold rgb({red},{green},{blue})")
    heading.append("  " + "  ·  ".join(part for part in parts if part), style="default not bold dim")
    return heading


def _colors(colors: Sequence[Color]) -> str:
    return ", ".join(
        f"{one_line(color.name.replace('_', ' '))} {color.share * 100:.0f} %"
        for color in colors
        if color.share >= LEAST_SHARE
    )
