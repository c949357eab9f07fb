"""Connects to what an embedding version needs: its ensembles in Triton and its collections in Milvus."""

from __future__ import annotations

import time

from lookalike_service.milvus import MilvusIndex
from lookalike_service.options import milvus_options
from lookalike_service.settings import Settings
from lookalike_service.triton import TritonFinder
from lookalike_service.versions import Pair
from lookalike_service.watching import Opener, Records, VersionWatch

__all__ = ["opener_of", "watch_of"]


def opener_of(settings: Settings) -> Opener:
    """Opens versions where the settings say."""

    async def open_pair(version: int, *, timeout: float) -> Pair:
        begin = time.monotonic()
        finder = await TritonFinder.connect(
            settings.triton_address,
            embedding_version=version,
            capacity=settings.photo_permits,
            timeout=timeout,
            round_robin=settings.triton_round_robin,
        )
        try:
            index = await MilvusIndex.connect(
                milvus_options(settings),
                embedding_version=version,
                dimension=finder.embedding_size,
                timeout=max(1.0, timeout - (time.monotonic() - begin)),
            )
        except BaseException:
            await finder.close()
            raise
        return Pair(finder, index)

    return open_pair


def watch_of(settings: Settings, records: Records) -> VersionWatch:
    """A gateway's watch over the versions of its catalogs, as the settings say."""
    return VersionWatch(
        records,
        opener_of(settings),
        catalogs=settings.catalogs,
        shares=settings.version_shares,
        pause=settings.versions_seconds,
        grace=settings.deadline_seconds,
    )
