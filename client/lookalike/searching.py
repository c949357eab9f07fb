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

    Pages need all but `page_size` and `product_view` unchanged.
    """

    filter: str
    category_mode: search_service_pb2.CategoryMode.ValueType
    page_size: int
    min_score: float
    reranking: search_service_pb2.Reranking
    product_view: product_pb2.ProductView.ValueType
    embedding_version: int


class SearchMethods(Session):
    """Photos in, products that look alike out."""

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
        timeout: float | None = None,
        **options: Unpack[SearchOptions],
    ) -> search_service_pb2.SearchProductsResponse:
        """Find every garment of a photo (or those in `regions`), and the products that look like each."""
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
        return await self._run(self._stubs().search.SearchProducts, request, timeout=timeout)

    async def search_garments(
        self,
        tokens: Iterable[str],
        *,
        catalog: str | None = None,
        include_embedding: bool = False,
        timeout: float | None = None,
        **options: Unpack[SearchOptions],
    ) -> search_service_pb2.SearchProductsResponse:
        """Search again for garments of an earlier answer, by `Garment.garment_token`; no model runs."""
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
        """The hits after those of `page`, with the options of its search; ValueError after the last page."""
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
        timeout: float | None = None,
    ) -> search_service_pb2.AnalyzeImageResponse:
        """Find and describe every garment of a photo (or those in `regions`), without a search."""
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
        return await self._run(self._stubs().search.AnalyzeImage, request, timeout=timeout)

    async def similar(
        self,
        product: str,
        *,
        catalog: str | None = None,
        page_token: str = "",
        timeout: float | None = None,
        **options: Unpack[SearchOptions],
    ) -> search_service_pb2.ListSimilarProductsResponse:
        """The products that look like a product, from its stored vectors; no model runs."""
        request = search_service_pb2.ListSimilarProductsRequest(
            name=self._name(product, catalog=catalog), page_token=page_token, **options
        )
        return await self._run(self._stubs().search.ListSimilarProducts, request, timeout=timeout)

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
        timeout: float | None = None,
    ) -> search_service_pb2.ListAlsoViewedProductsResponse:
        """The products that were looked at in the same sessions as a product."""
        request = search_service_pb2.ListAlsoViewedProductsRequest(
            name=self._name(product, catalog=catalog),
            page_size=page_size,
            page_token=page_token,
            filter=filter,
            product_view=product_view,
            similarity_share=similarity_share,
        )
        return await self._run(self._stubs().search.ListAlsoViewedProducts, request, timeout=timeout)
