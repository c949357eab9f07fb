"""Writes docs/settings.md, the manual of every setting, from the fields of Settings and what stands under them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from lookalike_service.settings import MEBIBYTE, Settings

__all__ = ["ELSEWHERE", "PAGE", "settings_page"]

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "settings.md"
BEGINNING: Final = """\
# Settings

Every setting of the gateway is an environment variable. This page is written by `make reference` from
[settings.py](../service/lookalike_service/settings.py), where each one is documented; change them there. Settings are
read once, at the start; a value that does not hold ends the start with a sentence that names its variable. Lists are
separated by commas. Secrets are never printed.

The commands beside the gateway (`lookalike reindex`, `bulk`, `verify`, `duplicates`;
`python -m lookalike_service migrate`, `backup`, `restore`, `key`) read the same variables. `make serve` sets addresses
and places of data itself and heeds the rest; in compose they stand in [docker-compose.yml](../docker-compose.yml).
"""
# A chapter begins with the setting that is named here; the order is that of settings.py.
CHAPTERS: Final = {
    "address": "Who may call, and where",
    "triton_address": "The models",
    "embedding_version": "Embedding versions",
    "milvus_uri": "Milvus and its index",
    "database_url": "The catalog of record and its photographs",
    "max_message_bytes": "Limits and time",
    "page_size": "Searches and lists",
    "recent_mebibytes": "Remembering and tokens",
    "session_key": "Views of products",
    "import_streams": "Imports",
    "startup_seconds": "Start, stop, logs, metrics and traces",
}
ELSEWHERE: Final = {
    "LOOKALIKE_SERVER": "host:port of the gateway that the command `lookalike` calls; `--server` wins over it.",
    "LOOKALIKE_API_KEY": "the API key that the command `lookalike` sends; `--api-key-file` wins.",
}


def settings_page() -> str:
    """The whole page."""
    if missing := CHAPTERS.keys() - Settings.model_fields.keys():
        raise ValueError(f"chapters begin with settings that are gone: {missing}; mend CHAPTERS in {__file__}")
    lines = [BEGINNING]
    for name, field in Settings.model_fields.items():
        if name in CHAPTERS:
            lines += [f"## {CHAPTERS[name]}", ""]
        lines += [
            f"### `LOOKALIKE_{name.upper()}`",
            "",
            " · ".join(_facts(field)),
            "",
            _linked(field.description or ""),
            "",
        ]
    lines += ["## Of the command, not of the gateway", ""]
    lines += [f"- `{name}`: {what}" for name, what in ELSEWHERE.items()]
    return "\n".join(lines) + "\n"


def _facts(field: FieldInfo) -> Iterator[str]:
    yield _type(field.annotation)
    default = field.get_default(call_default_factory=True, validated_data={})
    yield "required" if default is PydanticUndefined else f"default {_value(default)}"
    for bound in field.metadata:
        match bound:
            case Gt(gt=least):
                yield f"more than {_number(least)}"
            case Ge(ge=least):
                yield f"{_number(least)} or more"
            case Le(le=most):
                yield f"{_number(most)} at most"


def _type(annotation: object) -> str:
    if get_origin(annotation) is tuple:
        return f"list of {_type(get_args(annotation)[0])}s"
    if get_origin(annotation) is dict:
        key, value = get_args(annotation)
        return f"pairs of {_type(key)} and {_type(value)}, as in `key:value`"
    return {str: "text", int: "whole number", float: "number", bool: "true or false", SecretStr: "secret"}[annotation]  # type: ignore[index]


def _value(value: object) -> str:
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if value == "" or value == () or value == {}:
        return "empty"
    if isinstance(value, tuple):
        return f"`{','.join(map(str, value))}`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return _number(value) if isinstance(value, int | float) else f"`{value}`"


def _number(number: object) -> str:
    assert isinstance(number, int | float)
    if isinstance(number, int) and number >= MEBIBYTE and number % MEBIBYTE == 0:
        return f"{number} ({number // MEBIBYTE} MiB)"
    return f"{number:g}" if number < 1e6 else f"{number:.0f}"


def _linked(text: str) -> str:
    """Other settings that are named, and pages, as links."""
    text = re.sub(r"docs/(\w+\.md)", r"[\1](\1)", text)

    def link(found: re.Match[str]) -> str:
        name = found[1]
        return f"[{name}](#lookalike_{name})" if name in Settings.model_fields and "_" in name else found[0]

    return re.sub(r"`?\b([a-z]+(?:_[a-z]+)+)\b`?", link, text)
