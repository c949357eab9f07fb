"""Products of the contract as values, checked on their way in, and back."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from typing import Final

from google.protobuf import struct_pb2

from lookalike.currencies import CURRENCIES
from lookalike.v1 import product_pb2
from lookalike_service.drafts import Draft, NewImage
from lookalike_service.errors import RequestInvalid
from lookalike_service.model import Attribute, Hint, Money, Product, ProductImage
from lookalike_service.names import product_name
from lookalike_service.search import checked_box
from lookalike_service.wire import box_message, box_value

__all__ = ["change_of", "draft_of", "product_message"]

MOST_IMAGES: Final = 16
MOST_ATTRIBUTES: Final = 64
# Milvus takes 64 KiB of JSON in one field.
MOST_ATTRIBUTE_BYTES: Final = 32768
LARGEST_PRICE: Final = 2**53
KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
CHANGEABLE: Final = ("title", "brand", "category", "price", "available", "uri", "attributes", "images")
PARTS_OF_PRICE: Final = ("amount_minor", "currency_code")
# Fields that no mask changes: the name says which product, the revision goes with every write, the rest is ours.
WITHOUT_EFFECT: Final = ("name", "revision", "create_time", "update_time")


def draft_of(message: product_pb2.Product, *, catalog: str, product_id: str) -> Draft:
    """The product as its sender wants it. Raises RequestInvalid, RegionInvalid with the field at fault."""
    if not 0 <= message.revision < 2**62:
        raise RequestInvalid("a revision is 0 or a positive number below 2^62", field="product.revision")
    if len(message.images) > MOST_IMAGES:
        raise RequestInvalid(f"{len(message.images)} images; {MOST_IMAGES} at most", field="product.images")
    product = Product(
        catalog=catalog,
        id=product_id,
        title=_text(message.title, most=1000, field="product.title"),
        brand=_text(message.brand, most=200, field="product.brand"),
        category=_text(message.category, most=200, field="product.category").strip().lower(),
        price=_money(message.price) if message.HasField("price") else None,
        available=message.available if message.HasField("available") else True,
        uri=_text(message.uri, most=2000, field="product.uri"),
        attributes=_attributes(message),
        revision=message.revision,
    )
    return Draft(product, tuple(_new_image(image, number) for number, image in enumerate(message.images)))


def change_of(
    message: product_pb2.Product, paths: Sequence[str], *, catalog: str, product_id: str
) -> Callable[[Product | None], Draft]:
    """What an update makes of the product as it is: `paths` of it come from the message, all others stay.

    No paths mean every field that the message sets, `*` means all fields; a product that is not there is created
    from the whole message. Raises RequestInvalid for a path that is no field; the change raises what `draft_of` does.
    """
    chosen = list(paths) or [name for name in CHANGEABLE if _is_set(message, name)]
    if chosen == ["*"]:
        chosen = list(CHANGEABLE)
    for path in chosen:
        _check_path(path)

    def change(stored: Product | None) -> Draft:
        merged = message
        if stored:
            merged = product_message(stored, product_pb2.PRODUCT_VIEW_FULL)
            merged.revision = message.revision
            for path in chosen:
                _take_over(path, message, merged)
        return draft_of(merged, catalog=catalog, product_id=product_id)

    return change


def _is_set(message: product_pb2.Product, name: str) -> bool:
    return any(field.name == name for field, _ in message.ListFields())


def _check_path(path: str) -> None:
    field, _, part = path.partition(".")
    inside = (field == "price" and part in PARTS_OF_PRICE) or (field == "attributes" and KEY.fullmatch(part))
    if path not in (*CHANGEABLE, *WITHOUT_EFFECT) and not inside:
        raise RequestInvalid(
            f"{path[:150]!r} is no field that can be changed; there are {', '.join(CHANGEABLE)}, price.amount_minor, "
            "price.currency_code, attributes.KEY, and * alone for all",
            field="update_mask",
        )


def _take_over(path: str, message: product_pb2.Product, merged: product_pb2.Product) -> None:
    field, _, part = path.partition(".")
    if field in WITHOUT_EFFECT:
        return
    if field == "attributes" and part:
        merged.attributes.pop(part, None)
        if part in message.attributes:
            merged.attributes[part].CopyFrom(message.attributes[part])
        return
    if field == "price" and part:
        setattr(merged.price, part, getattr(message.price, part))
        return
    merged.ClearField(field)  # type: ignore[arg-type]
    for descriptor, value in message.ListFields():
        if descriptor.name == field and hasattr(value, "MergeFrom"):
            getattr(merged, field).MergeFrom(value)
        elif descriptor.name == field:
            setattr(merged, field, value)


def _text(value: str, *, most: int, field: str) -> str:
    if len(value) > most:
        raise RequestInvalid(f"{len(value):,} characters; {most:,} at most", field=field)
    if "\x00" in value:
        raise RequestInvalid("a text with a zero character", field=field)
    return value


def _money(message: product_pb2.Money) -> Money:
    if not 0 <= message.amount_minor <= LARGEST_PRICE:
        raise RequestInvalid("a price is not negative and at most 2^53", field="product.price.amount_minor")
    if message.currency_code not in CURRENCIES:
        raise RequestInvalid(
            f"{message.currency_code[:20]!r} is no currency of ISO 4217", field="product.price.currency_code"
        )
    return Money(message.amount_minor, message.currency_code)


def _attributes(message: product_pb2.Product) -> dict[str, Attribute]:
    if len(message.attributes) > MOST_ATTRIBUTES:
        raise RequestInvalid(
            f"{len(message.attributes)} attributes; {MOST_ATTRIBUTES} at most", field="product.attributes"
        )
    attributes = {key: _attribute(key, message.attributes[key]) for key in sorted(message.attributes)}
    size = len(json.dumps(attributes, ensure_ascii=False).encode())
    if size > MOST_ATTRIBUTE_BYTES:
        raise RequestInvalid(f"{size:,} bytes; {MOST_ATTRIBUTE_BYTES:,} at most", field="product.attributes")
    return attributes


def _attribute(key: str, value: struct_pb2.Value) -> Attribute:
    field = f"product.attributes[{key[:80]}]"
    if not KEY.fullmatch(key):
        raise RequestInvalid("a key is [A-Za-z_][A-Za-z0-9_]{0,63}", field=field)
    match value.WhichOneof("kind"):
        case "string_value":
            return _text(value.string_value, most=MOST_ATTRIBUTE_BYTES, field=field)
        case "bool_value":
            return value.bool_value
        case "number_value" if math.isfinite(value.number_value):
            number = value.number_value
            return int(number) if number.is_integer() and abs(number) <= LARGEST_PRICE else number
        case _:
            raise RequestInvalid("a value is a string, a finite number or a boolean", field=field)


def _new_image(message: product_pb2.ProductImage, number: int) -> NewImage:
    field = f"product.images[{number}].hint"
    hint: Hint | None = None
    match message.hint.WhichOneof("hint"):
        case "box":
            hint = Hint(box=checked_box(box_value(message.hint.box), field=f"{field}.box"))
        case "category":
            category = _text(message.hint.category, most=200, field=f"{field}.category").strip().lower()
            hint = Hint(category=category) if category else None
    return NewImage(message.content, message.id, hint)


def product_message(product: Product, view: product_pb2.ProductView.ValueType) -> product_pb2.Product:
    """The product as much as the view shows of it."""
    message = product_pb2.Product(name=product_name(product.catalog, product.id))
    if view == product_pb2.PRODUCT_VIEW_NAME:
        return message
    full = view == product_pb2.PRODUCT_VIEW_FULL
    message.title, message.brand, message.category = product.title, product.brand, product.category
    message.available, message.uri, message.revision = product.available, product.uri, product.revision
    if product.price:
        message.price.amount_minor = product.price.amount_minor
        message.price.currency_code = product.price.currency_code
    if product.create_time:
        message.create_time.FromDatetime(product.create_time)
    if product.update_time:
        message.update_time.FromDatetime(product.update_time)
    for image in product.images if full else product.images[:1]:
        message.images.append(_image_message(image))
    if full:
        for key, value in product.attributes.items():
            message.attributes[key].CopyFrom(_value_message(value))
        _add_views(message, product)
    return message


def _image_message(image: ProductImage) -> product_pb2.ProductImage:
    message = product_pb2.ProductImage(id=image.sha256, uri=f"/images/{image.sha256}")
    if image.hint and image.hint.box:
        message.hint.box.CopyFrom(box_message(image.hint.box))
    elif image.hint:
        message.hint.category = image.hint.category
    return message


def _value_message(value: Attribute) -> struct_pb2.Value:
    if isinstance(value, bool):
        return struct_pb2.Value(bool_value=value)
    if isinstance(value, str):
        return struct_pb2.Value(string_value=value)
    return struct_pb2.Value(number_value=value)


def _add_views(message: product_pb2.Product, product: Product) -> None:
    images = {image.id: image for image in reversed(message.images)}
    for view in product.views:
        if image := images.get(view.image_sha256):
            image.garment_views.add(
                box=box_message(view.box), category=view.category, embedding_version=view.embedding_version
            )
