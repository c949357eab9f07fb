"""Made-up visitors with a known structure: who looks at a product looks at its companions, and at bestsellers too."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lookalike.v1 import product_service_pb2

__all__ = ["DAY", "NOW", "Shopping", "messages", "recall_at_10", "view"]

# A Thursday at noon; days begin at midnight UTC.
NOW = 1_795_694_400 + 12 * 3600
HOUR, DAY = 3600, 24 * 3600


def view(
    product: str, session: str, *, seconds: int = NOW, catalog: str = "default"
) -> product_service_pb2.ProductPageView:
    """Somebody looked at a product."""
    made = product_service_pb2.ProductPageView(product=f"catalogs/{catalog}/products/{product}", session=session)
    made.view_time.seconds = seconds
    return made


def messages(
    views: Sequence[product_service_pb2.ProductPageView], *, size: int = 1000
) -> list[product_service_pb2.RecordViewsRequest]:
    """The views as a stream of messages."""
    return [
        product_service_pb2.RecordViewsRequest(views=views[begin : begin + size])
        for begin in range(0, len(views), size)
    ]


@dataclass(frozen=True)
class Shopping:
    """Products in groups of eleven, and sessions that each look around in one group.

    Every session also sees some of the bestsellers, as everybody does, and now and then something at random, so that
    by sheer number the bestsellers are everybody's companions.
    """

    groups: int = 40
    size: int = 11
    sessions: int = 2000
    looks: int = 5
    bestsellers: int = 10
    noise: float = 0.15
    seed: int = 1

    def products(self) -> list[str]:
        """All of them."""
        return [*(f"hit{number}" for number in range(self.bestsellers)), *self.companions()]

    def companions(self) -> dict[str, set[str]]:
        """Per product of a group the others of it."""
        members = [[f"g{group}-{number}" for number in range(self.size)] for group in range(self.groups)]
        return {each: set(group) - {each} for group in members for each in group}

    def views(self) -> list[product_service_pb2.ProductPageView]:
        """What was looked at, in no order, within the last five days."""
        rng = random.Random(self.seed)
        every = self.products()
        made = []
        for number in range(self.sessions):
            group, begin = rng.randrange(self.groups), NOW - rng.randrange(5 * DAY) - HOUR
            seen = [f"g{group}-{each}" for each in rng.sample(range(self.size), self.looks)]
            seen += [f"hit{each}" for each in rng.sample(range(self.bestsellers), 3)]
            seen += [rng.choice(every) for _ in range(self.looks) if rng.random() < self.noise]
            made += [view(each, f"visit {number}", seconds=begin + rng.randrange(HOUR)) for each in seen]
        rng.shuffle(made)
        return made

    def popular(self) -> list[str]:
        """The products by how often they are looked at: what a shop without any counting of pairs would show."""
        counts = Counter(each.product.rpartition("/")[2] for each in self.views())
        return [each for each, _ in counts.most_common()]


def recall_at_10(found: Mapping[str, Sequence[str]], companions: Mapping[str, set[str]]) -> float:
    """The mean share of a product's true companions that are among its first ten."""
    shares = [
        len(companions[each] & set(ranking[:10])) / min(10, len(companions[each])) for each, ranking in found.items()
    ]
    return sum(shares) / len(shares)
