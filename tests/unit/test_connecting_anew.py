"""Callers are asked to connect anew now and then, which is when they find gateways that have come."""

from __future__ import annotations

import asyncio

import grpc

from lookalike.v1 import product_service_pb2
from support_gateway import open_shop

LISTED = product_service_pb2.ListProductsRequest(parent="catalogs/default")


async def test_a_connection_ends_after_its_time_and_no_call_fails() -> None:
    async with open_shop(connection_seconds=0.2) as shop:
        await shop.channel.channel_ready()
        left = asyncio.ensure_future(shop.channel.wait_for_state_change(grpc.ChannelConnectivity.READY))
        async with asyncio.timeout(30):
            while not left.done():
                await shop.products.ListProducts(LISTED)
        await shop.products.ListProducts(LISTED)


async def test_connections_last_unless_told_otherwise() -> None:
    async with open_shop() as shop:
        await shop.channel.channel_ready()
        await shop.products.ListProducts(LISTED)
        assert shop.channel.get_state() is grpc.ChannelConnectivity.READY
