"""Resource names: `catalogs/{catalog}` and `catalogs/{catalog}/products/{product}`."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from lookalike_service.callers import caller
from lookalike_service.errors import CatalogNotFound, PermissionDenied, ProductNotFound, RequestInvalid

__all__ = ["Names", "no_such_product", "product_name"]

ID: Final = "[A-Za-z0-9._~-]{1,128}"
CATALOG: Final = re.compile(f"catalogs/({ID})")
PRODUCT: Final = re.compile(f"catalogs/({ID})/products/({ID})")


def product_name(catalog: str, product_id: str) -> str:
    """The name of a product."""
    return f"catalogs/{catalog}/products/{product_id}"


def no_such_product(catalog: str, product_id: str) -> ProductNotFound:
    """The error of a product that is not there."""
    name = product_name(catalog, product_id)
    return ProductNotFound(f"there is no product {name}", metadata={"product": name})


class Names:
    """Reads resource names, and knows which catalogs exist, and which of them are the caller's business."""

    def __init__(self, catalogs: Collection[str]) -> None:
        self._catalogs = frozenset(catalogs)

    def catalog(self, name: str, *, field: str) -> str:
        """The id of a catalog; empty means `catalogs/default`. Raises what `product` raises."""
        found = CATALOG.fullmatch(name or "catalogs/default")
        if found is None:
            raise RequestInvalid(f"a catalog's name is `catalogs/{{catalog}}`, not {name[:150]!r}", field=field)
        return self._existing(found[1])

    def product(self, name: str, *, field: str) -> tuple[str, str]:
        """The ids of catalog and product. Raises RequestInvalid, CatalogNotFound, PermissionDenied."""
        found = PRODUCT.fullmatch(name)
        if found is None:
            raise RequestInvalid(
                f"a product's name is `catalogs/{{catalog}}/products/{{product}}` with ids of letters, digits and ._~- "
                f"(128 at most), not {name[:150]!r}",
                field=field,
            )
        return self._existing(found[1]), found[2]

    def _existing(self, catalog: str) -> str:
        # Asked first: a stranger does not learn which catalogs there are.
        if not caller.get().reaches(catalog):
            raise PermissionDenied(
                f"{caller.get()} has no access to the catalog {catalog!r}", metadata={"catalog": catalog}
            )
        if catalog not in self._catalogs:
            raise CatalogNotFound(f"there is no catalog {catalog!r}", metadata={"catalog": catalog})
        return catalog
