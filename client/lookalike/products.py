"""ProductService as methods."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Sequence
from contextlib import aclosing

from google.protobuf.field_mask_pb2 import FieldMask

from lookalike.import_progress import ImportCount, OnProgress
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
    """Keeping a catalog.

    A product is named by its id, or by its whole name `catalogs/{catalog}/products/{id}`. Prices are in minor units
    of their currency (1999 EUR is 19.99 euros).
    """

    async def get_product(
        self, product: str, *, catalog: str | None = None, timeout: float | None = None
    ) -> product_pb2.Product:
        """One product with everything that is known of it (PRODUCT_VIEW_FULL). Raises ProductNotFound."""
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
        """Every product that `filter` lets through, in the order of the ids; fetches page after page as they are read.

        `page_size` is how many come per request (0: 50, at most 1,000), and `timeout` bounds each request. Attributes
        and all images come in PRODUCT_VIEW_FULL only. Raises FilterMalformed and CatalogNotFound when the first
        product is asked for. To leave early, close the iterator (contextlib.aclosing).
        """
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
        """Add a product that is not there yet, and give it as it is stored; searches find it within seconds.

        Raises ProductExists (after a retry it may be the one that the first attempt made), and ImageUnreadable or
        ImageTooLarge when one of its images cannot be used: then nothing is stored. MessageTooLarge comes before
        anything is sent: all images of one product together may have 32 MiB.
        """
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
        """Change fields of a product, and give it as it is stored; models run for new images only.

        What changes are the fields of `update_mask` ("price", "attributes.color"; one that is not set is cleared), or
        all that are set. Raises ProductNotFound unless `allow_missing`, which adds the product; RevisionOutdated when
        `product.revision` is older than the stored one; RequestInvalid for a field that is none.
        """
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
        """Delete a product with its images and garment views.

        Raises ProductNotFound unless `allow_missing`, and RevisionOutdated when the stored product is newer than
        `revision` (0: whichever is there).
        """
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
        on_progress: OnProgress | None = None,
        timeout: float | None = None,
    ) -> AsyncGenerator[product_service_pb2.ImportProductsResponse, None]:
        """Add products and replace those that are there; one answer per product, in order.

        `on_progress` is told the counts so far with every answer, before it is handed on: a plain function, called in
        the client's event loop (of SyncClient: in its thread), that must not block; what it raises ends the import.

        `products` is read only as fast as the server answers; a plain iterator is read in a thread, so it may
        open files. A product that fails is an answer with IMPORT_OUTCOME_FAILED. What fails in passing (a part of
        the server is away or overloaded) is sent again, as the retry policy says, for at most `timeout`, and a cut
        stream is resumed with what was not answered. `timeout` also bounds the time without any answer, and once
        nothing has succeeded for that long, failures are handed on at once. Two products of one name go one after
        the other. To leave early, close the iterator (contextlib.aclosing).
        """
        importer = Importer(
            lambda: self._stubs().products.ImportProducts(metadata=self._caller.headers()),
            caller=self._caller,
            name_of=lambda name: self._name(name, catalog=catalog),
            timeout=self._caller.timeout if timeout is None else timeout,
            max_in_flight=max_in_flight,
            max_bytes_in_flight=max_bytes_in_flight,
        )
        count = ImportCount()
        async with aclosing(importer.run(products)) as answers:
            async for answer in answers:
                if on_progress is not None:
                    on_progress(count.after(answer))
                yield answer

    async def record_views(
        self,
        views: AsyncIterable[product_service_pb2.ProductPageView] | Iterable[product_service_pb2.ProductPageView],
        *,
        catalog: str | None = None,
        timeout: float | None = None,
    ) -> product_service_pb2.RecordViewsResponse:
        """Report which products were looked at; the answer counts all views together, those that do not count by why.

        A view is a ProductPageView: product, session (what the shop calls a visit; the server keeps a keyed hash) and
        view_time, of which the day is kept. Views go out in calls of 20,000, each with its own timeout and retries;
        after an error those before it are taken in. A view that is sent again counts once, so that after a failure
        everything may be sent anew.
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

    async def forget_session(self, session: str, *, catalog: str | None = None, timeout: float | None = None) -> int:
        """Delete the views of a session, as whoever looked may ask for; gives how many there were."""
        request = product_service_pb2.DeleteSessionViewsRequest(parent=self._catalog(catalog), session=session)
        answer = await self._run(self._stubs().products.DeleteSessionViews, request, timeout=timeout)
        return answer.deleted_views

    async def _record(
        self, requests: Sequence[product_service_pb2.RecordViewsRequest], *, timeout: float | None
    ) -> product_service_pb2.RecordViewsResponse:
        method = self._stubs().products.RecordViews
        return await self._caller.run(
            "RecordViews",
            lambda seconds: method(iter(requests), timeout=seconds, metadata=self._caller.headers()),
            timeout=timeout,
        )


def _add(total: product_service_pb2.RecordViewsResponse, counts: product_service_pb2.RecordViewsResponse) -> None:
    total.accepted += counts.accepted
    total.unknown_products += counts.unknown_products
    total.out_of_window += counts.out_of_window
    total.over_session_limit += counts.over_session_limit
