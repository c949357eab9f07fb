"""What a server lists for judged products: those that look alike, or those that others also viewed."""

from __future__ import annotations

from collections.abc import Sequence

from lookalike.client import Client, SearchOptions
from lookalike.errors import ProductNotFound
from lookalike.evaluate.asking import MOST_PER_PAGE, Answer, Found, Photo, PhotoAnswers, PhotoUnusable, found_of
from lookalike.v1.product_pb2 import PRODUCT_VIEW_BASIC

__all__ = ["ALSO_VIEWED", "ProductAsker"]

ALSO_VIEWED = 0
"""In the place of an embedding version, since these lists have none of their own."""


class ProductAsker:
    """Asks with products of the catalog; the arguments are those of Asker.

    With `also_viewed` it is others' views that are asked for, mixed with looks by `similarity_share`.
    """

    def __init__(
        self,
        client: Client,
        *,
        versions: Sequence[int],
        depth: int,
        shown: int = 0,
        options: SearchOptions | None = None,
        also_viewed: bool = False,
        similarity_share: float = 0.0,
    ) -> None:
        self._client = client
        self._versions = tuple(versions)
        self._depth = depth
        self._shown = shown
        self._options: SearchOptions = options or {}
        self._also_viewed = also_viewed
        self._similarity_share = similarity_share

    async def ask(self, photo: Photo) -> PhotoAnswers:
        """One after another what each version lists. Raises PhotoUnusable and LookalikeError."""
        versions, answers = [], []
        try:
            for version in self._versions:
                said, found = await self._ask(photo.name, version)
                versions.append(said)
                answer = Answer(tuple(each.product for each in found), tuple(found[: self._shown]))
                answers.append((answer,) * len(photo.queries))
        except ProductNotFound as error:
            raise PhotoUnusable(f"the product {photo.name} is not in the catalog") from error
        return PhotoAnswers(photo, tuple(versions), tuple(answers))

    async def _ask(self, product: str, version: int) -> tuple[int, list[Found]]:
        """The version that answered, and what it lists, with as many pages as it takes."""
        found: list[Found] = []
        token, said = "", version
        while len(found) < self._depth and (token or not found):
            said, some, token = await (
                self._viewed(product, token) if self._also_viewed else self._similar(product, version, token)
            )
            found += some
            if not some:
                break
        # A product may come on two pages when the catalog changes in between.
        return said, list({each.product: each for each in found}.values())[: self._depth]

    async def _similar(self, product: str, version: int, token: str) -> tuple[int, list[Found], str]:
        options: SearchOptions = {
            **self._options,
            "page_size": min(self._depth, MOST_PER_PAGE),
            "product_view": PRODUCT_VIEW_BASIC,
            "embedding_version": version,
        }
        answer = await self._client.similar(product, page_token=token, **options)
        found = [found_of(hit.product, image_id=hit.image_id, score=hit.score) for hit in answer.hits]
        return answer.embedding_version, found, answer.next_page_token

    async def _viewed(self, product: str, token: str) -> tuple[int, list[Found], str]:
        answer = await self._client.also_viewed(
            product,
            page_size=min(self._depth, MOST_PER_PAGE),
            page_token=token,
            filter=self._options.get("filter", ""),
            product_view=PRODUCT_VIEW_BASIC,
            similarity_share=self._similarity_share,
        )
        found = [found_of(each.product, score=each.score) for each in answer.products]
        return ALSO_VIEWED, found, answer.next_page_token
