"""Writes docs/api.md, the reference of the gRPC contract, from the comments in proto/."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from typing import Final

from documentation.descriptors import (
    FIELDS,
    METHODS,
    ROOT,
    SERVICES,
    VALUES,
    Contract,
    EnumEntry,
    MessageEntry,
    read_contract,
    type_of,
)

__all__ = ["PAGE", "api_page"]

PAGE: Final = ROOT / "docs" / "api.md"
BEGINNING: Final = """\
# API reference

The gRPC contract `lookalike.v1`, written by `make reference` from the comments in
[proto/lookalike/v1](../proto/lookalike/v1); change them there. The server answers gRPC reflection, the Python client
has all of this as methods ([quick_start.md](quick_start.md)), and most limits that are named here are
[settings](settings.md).
"""
# The order in which a reader meets them: what is asked, then what is kept, then what both consist of.
FILES: Final = ("search_service", "product_service", "product", "garment")
TITLES: Final = {
    "search_service": "Messages of SearchService",
    "product_service": "Messages of ProductService",
    "product": "Products",
    "garment": "Garments",
}
# "INVALID_ARGUMENT IMAGE_UNREADABLE, IMAGE_TOO_LARGE: why;" as the comments write errors; long ones go on further in.
ERROR: Final = re.compile(r"(?P<code>[A-Z_]{5,}) ?(?P<reasons>[A-Z_]+[^:;]*|without a reason)?(: (?P<when>.*))?[;.]")

NAMED: Final = re.compile(r"(docs/\w+\.md|\w+\.proto|\b[A-Za-z]\w*_\w+\b)")


def api_page() -> str:
    """The whole page."""
    contract = read_contract()
    known = {entry.name for file in contract.values() for entry in file.entries()}
    parts = [BEGINNING]
    for name in FILES:
        parts += [*_services(contract[name])]
    for name in FILES:
        parts.append(f"## {TITLES[name]}\n")
        if not contract[name].file.service:
            parts.append(_prose(contract[name].about()))
        for entry in contract[name].entries():
            parts.append(_message(contract[name], entry, known) if isinstance(entry, MessageEntry) else
                         _enum(contract[name], entry))  # fmt: skip
    return re.sub(r"\n{3,}", "\n\n", "\n".join(parts)).rstrip() + "\n"


def _services(contract: Contract) -> Iterator[str]:
    for index, service in enumerate(contract.file.service):
        yield f"## {service.name}\n"
        yield _prose(contract.comment(SERVICES, index))
        yield _prose(contract.about().partition("\n\n")[2])
        for position, method in enumerate(service.method):
            sent, received = (
                f"{'stream of ' if streaming else ''}{_link(name.removeprefix('.lookalike.v1.'))}"
                for name, streaming in (
                    (method.input_type, method.client_streaming),
                    (method.output_type, method.server_streaming),
                )
            )
            yield f"### {method.name}\n"
            yield f"`lookalike.v1.{service.name}/{method.name}`: {sent} → {received}\n"
            yield _prose(contract.comment(SERVICES, index, METHODS, position))


def _message(contract: Contract, entry: MessageEntry, known: set[str]) -> str:
    lines = [f"### {entry.name}\n", _prose(contract.comment(*entry.place))]
    if not entry.message.field:
        return "\n".join([*lines, "No fields.\n"])
    lines += ["| no. | field | type | what |", "| ---: | --- | --- | --- |"]
    for index, field in enumerate(entry.message.field):
        written = type_of(field, entry.message)
        shown = _link(written) if written in known else f"`{written}`"
        if field.label == field.LABEL_REPEATED and not written.startswith("map<"):
            shown = f"repeated {shown}"
        if field.proto3_optional:
            shown = f"optional {shown}"
        elif field.HasField("oneof_index"):
            shown = f"{shown}, one of `{entry.message.oneof_decl[field.oneof_index].name}`"
        what = _cell(contract.comment(*entry.place, FIELDS, index))
        lines.append(f"| {field.number} | `{field.name}` | {shown} | {what} |")
    return "\n".join([*lines, ""])


def _enum(contract: Contract, entry: EnumEntry) -> str:
    lines = [
        f"### {entry.name}\n",
        _prose(contract.comment(*entry.place)),
        "| no. | value | what |",
        "| ---: | --- | --- |",
    ]
    for index, value in enumerate(entry.enum.value):
        lines.append(f"| {value.number} | `{value.name}` | {_cell(contract.comment(*entry.place, VALUES, index))} |")
    return "\n".join([*lines, ""])


def _link(name: str) -> str:
    return f"[{name}](#{name.lower().replace('.', '')})"


def _cell(comment: str) -> str:
    return _escaped(" ".join(line.strip() for line in comment.splitlines())).replace("|", "\\|")


def _prose(comment: str) -> str:
    """Paragraphs as Markdown: errors as a table, other indented lines as they stand."""
    written: list[str] = []
    for line in _joined(comment):
        indented = line.startswith("  ")
        if indented and ERROR.fullmatch(line.strip()):
            if not written or not written[-1].startswith("|"):
                written += ["", "| code | reason | when |", "| --- | --- | --- |"]
            written.append(_error(line.strip()))
        elif indented:
            written += ["", f"    {line.strip()}", ""]
        else:
            if written and written[-1].startswith("|"):
                written.append("")
            written.append(_escaped(line.strip()))
    return textwrap.dedent("\n".join(written)).strip("\n") + "\n"


def _joined(comment: str) -> list[str]:
    """Lines, each error in one of its own: a line that goes on further in belongs to the one before."""
    joined: list[str] = []
    for line in comment.splitlines():
        if line.startswith("    ") and joined and not joined[-1].rstrip().endswith((";", ".")):
            joined[-1] += f" {line.strip()}"
        else:
            joined.append(line.removeprefix(" "))
    return joined


def _error(line: str) -> str:
    found = ERROR.fullmatch(line)
    assert found
    reasons = re.sub(r"\b(INTERNAL|OVERLOADED)\b", r"`\1`", found["reasons"] or "")
    return f"| `{found['code']}` | {_escaped(reasons)} | {_escaped(found['when'] or '')} |"


def _escaped(text: str) -> str:
    """Names with underscores as code, pages as links; what is left of Markdown's signs outside of code, escaped."""
    pieces = text.split("`")
    pieces[::2] = [_plain(piece) for piece in pieces[::2]]
    return "`".join(pieces)


def _plain(text: str) -> str:
    pieces = NAMED.split(text)
    pieces[::2] = [re.sub(r"([\\*_\[\]])", r"\\\1", piece).replace("<", "&lt;") for piece in pieces[::2]]
    pieces[1::2] = [_named(piece) for piece in pieces[1::2]]
    return "".join(pieces)


def _named(name: str) -> str:
    if name.startswith("docs/"):
        page = name.removeprefix("docs/")
        return f"[{page}]({page})"
    return f"[{name}](../proto/lookalike/v1/{name})" if name.endswith(".proto") else f"`{name}`"
