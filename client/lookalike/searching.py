"""SearchService as methods."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypedDict, Unpack

from lookalike.session import Session
from lookalike.v1 import garment_pb2, product_pb2, search_service_pb2
from lookalike.values import ImageLike, RegionLike, as_region, read_image

__all__ = ["SearchMethods", "SearchOptions"]


class SearchOptions(TypedDict, total=False):
    """What all searches have in common: fields of SearchProductsRequest, whose comments explain them.

    `filter` is a subset of AIP-160 (`category = "dress" AND price < 10000`, prices in minor units); `page_size` counts
    products per garment (0: 10, at most 100); `min_score` is a cosine, -1..1 (0: no bound). Pages need all but
    `page_size` and `product_view` unchanged.
    """

    filter: str
    category_mode: search_service_pb2.CategoryMode.ValueType
    page_size: int
    min_score: float
    reranking: search_service_pb2.Reranking
    product_view: product_pb2.ProductView.ValueType
    embedding_version: int


class SearchMethods(Session):
    """Photos in, products that look alike out.

    Boxes are shares of the upright photo, 0..1 from the top left; scores of hits are cosines, -1..1, best first.
    """

    async def search(
        self,
        image: ImageLike,
        *,
        catalog: str | None = None,
        regions: Iterable[RegionLike] = (),
        max_garments: int = 0,
        min_garment_score: float = 0.0,
        mask_format: garment_pb2.MaskFormat.ValueType = garment_pb2.MASK_FORMAT_UNSPECIFIED,
        include_embedding: bool = False,
        sticky_key: str = "",
        timeout: float | None = None,
        **options: Unpack[SearchOptions],
    ) -> search_service_pb2.SearchProductsResponse:
        """Find every garment of a photo (or those in `regions`), and the products that look like each.

        The answer has one entry in `results` per garment: regions in their order, else the surest garment first (at
        most `max_garments`, 0: 16, each with a `min_garment_score` of 0..1 or more, 0: the model's own bound). Nothing
        in sight means that the whole photo counts as one. `include_embedding` adds each garment's vector, float32 of
        unit length; `mask_format` its outline.

        Raises OSError for a file that cannot be read; ImageTooLarge before anything is sent; ImageUnreadable,
        RegionInvalid, FilterMalformed, CatalogNotFound; and what any call may raise (Client).

        While several embedding versions share the traffic, the same `sticky_key` gets the same one: an id of the
        shopper's session, say.
        """
        request = search_service_pb2.SearchProductsRequest(
            catalog=self._catalog(catalog),
            image=await read_image(image),
            regions=[as_region(region) for region in regions],
            max_garments=max_garments,
            min_garment_score=min_garment_score,
            mask_format=mask_format,
            include_embedding=include_embedding,
            **options,
        )
        return await self._run(self._stubs().search.SearchProducts, request, timeout=timeout, sticky_key=sticky_key)

    async def search_garments(
        self,
        tokens: Iterable[str],
        *,
        catalog: str | None = None,
        include_embedding: bool = False,
        timeout: float | None = None,
        **options: Unpack[SearchOptions],
    ) -> search_service_pb2.SearchProductsResponse:
        """Search again for garments of an earlier answer, by `Garment.garment_token` (1 to 16); no model runs.

        This is what a tap on another garment, a filter or an option costs: a few milliseconds. Raises
        GarmentTokenInvalid for a token that has expired (the server says for how long they hold), was altered, or is of
        an embedding version that is gone: search with the photo then. Raises FilterMalformed and CatalogNotFound, too.
        """
        request = search_service_pb2.SearchProductsRequest(
            catalog=self._catalog(catalog),
            garments=garment_pb2.GarmentTokens(tokens=tokens),
            include_embedding=include_embedding,
            **options,
        )
        return await self._run(self._stubs().search.SearchProducts, request, timeout=timeout)

    async def next_page(
        self,
        page: search_service_pb2.GarmentHits,
        *,
        catalog: str | None = None,
        timeout: float | None = None,
        **options: Unpack[SearchOptions],
    ) -> search_service_pb2.GarmentHits:
        """The hits after those of `page`, with the options of its search; no model runs.

        Raises ValueError after the last page, PageTokenInvalid when an option differs, and GarmentTokenInvalid.
        """
        if not page.next_page_token:
            raise ValueError("there are no more hits: `page.next_page_token` is empty")
        request = search_service_pb2.SearchProductsRequest(
            catalog=self._catalog(catalog),
            garments=garment_pb2.GarmentTokens(tokens=[page.garment.garment_token]),
            page_token=page.next_page_token,
            **options,
        )
        answer = await self._run(self._stubs().search.SearchProducts, request, timeout=timeout)
        return answer.results[0]

    async def analyze(
        self,
        image: ImageLike,
        *,
        catalog: str | None = None,
        regions: Iterable[RegionLike] = (),
        max_garments: int = 0,
        min_garment_score: float = 0.0,
        mask_format: garment_pb2.MaskFormat.ValueType = garment_pb2.MASK_FORMAT_UNSPECIFIED,
        include_embedding: bool = False,
        embedding_version: int = 0,
        sticky_key: str = "",
        timeout: float | None = None,
    ) -> search_service_pb2.AnalyzeImageResponse:
        """Find and describe every garment of a photo (or those in `regions`), without a search.

        Arguments and errors are those of `search`; the garments' tokens can be searched with later.
        """
        request = search_service_pb2.AnalyzeImageRequest(
            catalog=self._catalog(catalog),
            image=await read_image(image),
            regions=[as_region(region) for region in regions],
            max_garments=max_garments,
            min_garment_score=min_garment_score,
            mask_format=mask_format,
            include_embedding=include_embedding,
            embedding_version=embedding_version,
        )
        return await self._run(self._stubs().search.AnalyzeImage, request, timeout=timeout, sticky_key=sticky_key)

    async def similar(
        self,
        product: str,
        *,
        catalog: str | None = None,
        page_token: str = "",
        sticky_key: str = "",
        timeout: float | None = None,
        **options: Unpack[SearchOptions],
    ) -> search_service_pb2.ListSimilarProductsResponse:
        """The products that look like a product (which is not among them), from its stored vectors; no model runs.

        `page_token` is `next_page_token` of the page before. Raises ProductNotFound, FilterMalformed, PageTokenInvalid.
        """
        request = search_service_pb2.ListSimilarProductsRequest(
            name=self._name(product, catalog=catalog), page_token=page_token, **options
        )
        return await self._run(
            self._stubs().search.ListSimilarProducts, request, timeout=timeout, sticky_key=sticky_key
        )

    async def also_viewed(
        self,
        product: str,
        *,
        catalog: str | None = None,
        page_size: int = 0,
        page_token: str = "",
        filter: str = "",
        product_view: product_pb2.ProductView.ValueType = product_pb2.PRODUCT_VIEW_UNSPECIFIED,
        similarity_share: float = 0.0,
        sticky_key: str = "",
        timeout: float | None = None,
    ) -> search_service_pb2.ListAlsoViewedProductsResponse:
        """The products that were looked at in the same sessions as a product, and then its lookalikes.

        `AlsoViewedProduct.origin` says which each is; `similarity_share`, 0..1, mixes both when above 0. `page_size`
        and `page_token` are as in `similar`, and so are the errors. docs/also_viewed.md has the score's formula.
        """
        request = search_service_pb2.ListAlsoViewedProductsRequest(
            name=self._name(product, catalog=catalog),
            page_size=page_size,
            page_token=page_token,
            filter=filter,
            product_view=product_view,
            similarity_share=similarity_share,
        )
        return await self._run(
            self._stubs().search.ListAlsoViewedProducts, request, timeout=timeout, sticky_key=sticky_key
        )
