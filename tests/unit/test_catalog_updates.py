"""UpdateProduct: masks, what is embedded and what is not, and what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
from google.protobuf import field_mask_pb2

from fakes import photo
from lookalike.v1 import product_pb2, product_service_pb2
from support_gateway import Shop, open_shop, product, refusal

NAME = "catalogs/default/products/p"


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    async with open_shop() as opened:
        await opened.bring([stocked()])
        yield opened


def stocked() -> product_pb2.Product:
    sent = product("p", "one", "two", title="old", brand="acme", category="dress", uri="/p")
    sent.price.amount_minor, sent.price.currency_code = 1999, "EUR"
    sent.attributes["size"].string_value = "M"
    sent.attributes["stock"].number_value = 3
    sent.images[1].hint.category = "dress"
    return sent


def updating(*paths: str, allow_missing: bool = False, **fields: object) -> product_service_pb2.UpdateProductRequest:
    message = product_pb2.Product(**{"name": NAME, **fields})  # type: ignore[arg-type]
    mask = field_mask_pb2.FieldMask(paths=paths)
    return product_service_pb2.UpdateProductRequest(product=message, update_mask=mask, allow_missing=allow_missing)


async def updated(shop: Shop, request: product_service_pb2.UpdateProductRequest) -> product_pb2.Product:
    """The product after the update, which is what GetProduct says at once."""
    answered: product_pb2.Product = (await shop.products.UpdateProduct(request)).product
    assert answered == await stored(shop)
    return answered


async def stored(shop: Shop) -> product_pb2.Product:
    got: product_pb2.Product = (
        await shop.products.GetProduct(product_service_pb2.GetProductRequest(name=NAME))
    ).product
    return got


def differing(before: product_pb2.Product, after: product_pb2.Product) -> set[str]:
    """The fields that differ, but for those that every write changes."""
    names = {field.name for message in (before, after) for field, _ in message.ListFields()}
    return {name for name in names if getattr(before, name) != getattr(after, name)} - {"revision", "update_time"}


async def test_a_mask_changes_its_fields_and_nothing_else(shop: Shop) -> None:
    before = await stored(shop)
    after = await updated(shop, updating("title", title="new", brand="not asked for"))
    assert (after.title, differing(before, after)) == ("new", {"title"})
    assert after.revision > before.revision


@pytest.mark.parametrize("field", ["title", "brand", "category", "price", "uri", "attributes"])
async def test_a_masked_field_that_is_not_set_becomes_empty(shop: Shop, field: str) -> None:
    before = await stored(shop)
    after = await updated(shop, updating(field))
    assert field not in {each.name for each, _ in after.ListFields()}
    assert differing(before, after) - {"images"} == {field}


async def test_without_a_mask_what_is_set_changes(shop: Shop) -> None:
    before = await stored(shop)
    after = await updated(shop, updating(title="new", available=False))
    assert differing(before, after) == {"title", "available"}
    assert differing(after, await updated(shop, updating("available"))) == {"available"}  # unset means true


async def test_a_star_changes_everything(shop: Shop) -> None:
    kept = (await stored(shop)).images[0].id
    after = await updated(shop, updating("*", title="new", images=[product_pb2.ProductImage(id=kept)]))
    assert {field.name for field, _ in after.ListFields()} == {
        "name", "title", "available", "images", "revision", "create_time", "update_time"
    }  # fmt: skip


async def test_parts_of_price_and_attributes(shop: Shop) -> None:
    request = updating("price.amount_minor", "attributes.size", "attributes.stock", "attributes.sale")
    request.product.price.amount_minor = 999
    request.product.attributes["size"].string_value = "L"
    request.product.attributes["sale"].bool_value = True
    request.product.attributes["ignored"].bool_value = True
    after = await updated(shop, request)
    assert (after.price.amount_minor, after.price.currency_code) == (999, "EUR")
    assert {key: value.WhichOneof("kind") for key, value in after.attributes.items()} == {
        "size": "string_value",
        "sale": "bool_value",
    }
    assert after.attributes["size"].string_value == "L"


async def test_a_price_never_embeds_and_reaches_the_index(shop: Shop) -> None:
    calls = shop.finder.calls
    price = product_pb2.Money(amount_minor=5, currency_code="EUR")
    await updated(shop, updating("price", price=price))
    assert shop.finder.calls == calls
    prices = {
        entry.product.price.amount_minor for entry in shop.index.catalogs["default"].values() if entry.product.price
    }
    assert prices == {5}
    upserted = shop.index.upserted
    await updated(shop, updating("title", title="never touches the index"))
    assert shop.index.upserted == upserted


async def test_only_new_images_and_changed_hints_are_embedded(shop: Shop) -> None:
    before, calls = await stored(shop), shop.finder.calls
    images = [product_pb2.ProductImage(id=each.id, hint=each.hint) for each in before.images]
    images.append(product_pb2.ProductImage(content=photo({"look": "three"})))
    after = await updated(shop, updating("images", images=images))
    assert (len(after.images), shop.finder.calls - calls) == (3, 1)
    images[0].hint.category = "dress"
    images[1].hint.box.x1 = images[1].hint.box.y1 = 0.5
    del images[2]
    after = await updated(shop, updating("images", images=images))
    assert (len(after.images), shop.finder.calls - calls) == (2, 2)  # a hint that says what was chosen anyway is none
    assert len(shop.index.catalogs["default"]) == 2
    await updated(shop, updating("images", images=images[:1]))
    assert (len(shop.index.catalogs["default"]), shop.finder.calls - calls) == (1, 2)


@pytest.mark.parametrize(
    "path",
    ["colour", "titel", "attributes.a b", "attributes.", "price.amount", "images.hint", "title.x", "", "Title",
     "attributes.a.b"],
)  # fmt: skip
async def test_a_mask_with_unknown_fields_names_them(shop: Shop, path: str) -> None:
    before = await stored(shop)
    refused = await refusal(shop.products.UpdateProduct(updating("title", path, title="new")))
    assert (refused.code, refused.field) == (grpc.StatusCode.INVALID_ARGUMENT, "update_mask")
    assert repr(path) in refused.message
    assert await stored(shop) == before
    star = await refusal(shop.products.UpdateProduct(updating("*", "title")))
    assert star.field == "update_mask"


async def test_what_cannot_be_changed_is_passed_over(shop: Shop) -> None:
    before = await stored(shop)
    after = await updated(shop, updating("name", "create_time", "update_time", "revision", "title", title="new"))
    assert differing(before, after) == {"title"}


async def test_a_bad_value_names_its_field_and_changes_nothing(shop: Shop) -> None:
    before = await stored(shop)
    bad = {
        "price.amount_minor": updating("price.amount_minor", price=product_pb2.Money(amount_minor=-1)),
        "price.currency_code": updating("price.currency_code", price=product_pb2.Money(currency_code="EURO")),
        "title": updating("title", title="x" * 65_536),
        "images": updating("images"),
        "images[0].id": updating("images", images=[product_pb2.ProductImage(id="a" * 64)]),
    }
    for field, request in bad.items():
        assert (await refusal(shop.products.UpdateProduct(request))).field == f"product.{field}"
    assert await stored(shop) == before


async def test_a_product_that_is_not_there(shop: Shop) -> None:
    await shop.products.DeleteProduct(product_service_pb2.DeleteProductRequest(name=NAME))
    refused = await refusal(shop.products.UpdateProduct(updating("title", title="new")))
    assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "PRODUCT_NOT_FOUND")
    nothing = await refusal(shop.products.UpdateProduct(updating("title", title="new", allow_missing=True)))
    assert nothing.field == "product.images"
    images = [product_pb2.ProductImage(content=photo({"look": "one"}))]
    created = await updated(shop, updating("title", title="new", brand="b", images=images, allow_missing=True))
    assert (created.title, created.brand, len(created.images)) == ("new", "b", 1)
    nameless = await refusal(shop.products.UpdateProduct(updating("title", name="", title="new")))
    assert nameless.field == "product.name"


async def test_an_older_revision_is_refused(shop: Shop) -> None:
    await updated(shop, updating("title", title="new", revision=2**60))
    refused = await refusal(shop.products.UpdateProduct(updating("title", title="late", revision=2**60 - 1)))
    assert (refused.code, refused.reason) == (grpc.StatusCode.ABORTED, "REVISION_OUTDATED")
    same = await refusal(shop.products.UpdateProduct(updating("title", title="other", revision=2**60)))
    assert "needs a higher revision" in same.message


async def test_updates_of_different_fields_at_the_same_time_are_all_kept(shop: Shop) -> None:
    requests = [updating(f"attributes.a{number}") for number in range(20)]
    for number, request in enumerate(requests):
        request.product.attributes[f"a{number}"].number_value = number
    await asyncio.gather(*(shop.products.UpdateProduct(request) for request in requests))
    assert {f"a{number}" for number in range(20)} <= set((await stored(shop)).attributes)
