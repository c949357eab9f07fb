"""ProductService as methods."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Sequence
from contextlib import aclosing

from google.protobuf.field_mask_pb2 import FieldMask

from lookalike.importing import Importer, Products
from lookalike.iteration import each
from lookalike.session import Session
from lookalike.v1 import product_pb2, product_service_pb2
from lookalike.values import split_product_name

__all__ = ["ProductMethods"]

# RecordViews: views in one message (the contract's bound), and messages in one call.
VIEWS_PER_MESSAGE = 1000
MESSAGES_PER_CALL = 20


class ProductMethods(Session):
    """Keeping a catalog."""

    async def get_product(
        self, product: str, *, catalog: str | None = None, timeout: float | None = None
    ) -> product_pb2.Product:
        """One product, in PRODUCT_VIEW_FULL."""
        request = product_service_pb2.GetProductRequest(name=self._name(product, catalog=catalog))
        return (await self._run(self._stubs().products.GetProduct, request, timeout=timeout)).product

    async def list_products(
        self,
        *,
        catalog: str | None = None,
        filter: str = "",
        page_size: int = 0,
        product_view: product_pb2.ProductView.ValueType = product_pb2.PRODUCT_VIEW_UNSPECIFIED,
        timeout: float | None = None,
    ) -> AsyncGenerator[product_pb2.Product, None]:
        """Every product, in the order of the ids; fetches page after page as they are read."""
        request = product_service_pb2.ListProductsRequest(
            parent=self._catalog(catalog), filter=filter, page_size=page_size, product_view=product_view
        )
        while True:
            answer = await self._run(self._stubs().products.ListProducts, request, timeout=timeout)
            for product in answer.products:
                yield product
            if not answer.next_page_token:
                return
            request.page_token = answer.next_page_token

    async def create_product(
        self, product: product_pb2.Product, *, catalog: str | None = None, timeout: float | None = None
    ) -> product_pb2.Product:
        """Add a product that is not there yet (ProductExists otherwise)."""
        parent, product_id = split_product_name(self._name(product.name, catalog=catalog))
        request = product_service_pb2.CreateProductRequest(parent=parent, product_id=product_id, product=product)
        return (await self._run(self._stubs().products.CreateProduct, request, timeout=timeout)).product

    async def update_product(
        self,
        product: product_pb2.Product,
        *,
        update_mask: Iterable[str] = (),
        allow_missing: bool = False,
        catalog: str | None = None,
        timeout: float | None = None,
    ) -> product_pb2.Product:
        """Change fields of a product: those of `update_mask` ("price", "attributes.color"), or all that are set."""
        request = product_service_pb2.UpdateProductRequest(
            product=product, update_mask=FieldMask(paths=update_mask), allow_missing=allow_missing
        )
        request.product.name = self._name(product.name, catalog=catalog)
        return (await self._run(self._stubs().products.UpdateProduct, request, timeout=timeout)).product

    async def delete_product(
        self,
        product: str,
        *,
        allow_missing: bool = False,
        revision: int = 0,
        catalog: str | None = None,
        timeout: float | None = None,
    ) -> None:
        """Delete a product with all its images and views."""
        request = product_service_pb2.DeleteProductRequest(
            name=self._name(product, catalog=catalog), allow_missing=allow_missing, revision=revision
        )
        await self._run(self._stubs().products.DeleteProduct, request, timeout=timeout)

    async def import_products(
        self,
        products: Products,
        *,
        catalog: str | None = None,
        max_in_flight: int = 64,
        max_bytes_in_flight: int = 64 * 1024 * 1024,
        timeout: float | None = None,
    ) -> AsyncGenerator[product_service_pb2.ImportProductsResponse, None]:
        """Add products and replace those that are there; one answer per product, in order.

        `products` is read only as fast as the server answers; a plain iterator is read in a thread, so it may
        open files. A product that fails is an answer with IMPORT_OUTCOME_FAILED. What fails in passing (a part of
        the server is away or overloaded) is sent again, as the retry policy says, for at most `timeout`, and a cut
        stream is resumed with what was not answered. `timeout` also bounds the time without any answer, and once
        nothing has succeeded for that long, failures are handed on at once. Two products of one name go one after
        the other. To leave early, close the iterator (contextlib.aclosing).
        """
        importer = Importer(
            lambda: self._stubs().products.ImportProducts(metadata=self._caller.metadata),
            caller=self._caller,
            name_of=lambda name: self._name(name, catalog=catalog),
            timeout=self._caller.timeout if timeout is None else timeout,
            max_in_flight=max_in_flight,
            max_bytes_in_flight=max_bytes_in_flight,
        )
        async with aclosing(importer.run(products)) as answers:
            async for answer in answers:
                yield answer

    async def record_views(
        self,
        views: AsyncIterable[product_service_pb2.ProductPageView] | Iterable[product_service_pb2.ProductPageView],
        *,
        catalog: str | None = None,
        timeout: float | None = None,
    ) -> product_service_pb2.RecordViewsResponse:
        """Report which products were looked at; the counts are of all views together.

        Views go out in calls of 20,000, each with its own timeout and retries; after an error those before it are
        taken in, and after a retry a view may be counted twice.
        """
        total = product_service_pb2.RecordViewsResponse()
        requests = [product_service_pb2.RecordViewsRequest()]
        async for view in each(views):
            if len(requests[-1].views) == VIEWS_PER_MESSAGE:
                if len(requests) == MESSAGES_PER_CALL:
                    _add(total, await self._record(requests, timeout=timeout))
                    requests = []
                requests.append(product_service_pb2.RecordViewsRequest())
            requests[-1].views.append(view)
            requests[-1].views[-1].product = self._name(view.product, catalog=catalog)
        _add(total, await self._record(requests, timeout=timeout))
        return total

    async def _record(
        self, requests: Sequence[product_service_pb2.RecordViewsRequest], *, timeout: float | None
    ) -> product_service_pb2.RecordViewsResponse:
        method = self._stubs().products.RecordViews
        return await self._caller.run(
            "RecordViews",
            lambda seconds: method(iter(requests), timeout=seconds, metadata=self._caller.metadata),
            timeout=timeout,
        )


def _add(total: product_service_pb2.RecordViewsResponse, counts: product_service_pb2.RecordViewsResponse) -> None:
    total.accepted += counts.accepted
    total.unknown_products += counts.unknown_products
    total.out_of_window += counts.out_of_window
    total.over_session_limit += counts.over_session_limit
