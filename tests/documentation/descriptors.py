"""What stands in proto/lookalike/v1, with its comments, as protoc reads it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)

__all__ = ["Contract", "EnumEntry", "MessageEntry", "read_contract", "type_of"]

ROOT: Final = Path(__file__).parents[2]
# The numbers by which descriptor.proto names the parts of a file in the paths of its comments.
MESSAGES, ENUMS, SERVICES, SYNTAX = 4, 5, 6, 12
FIELDS, NESTED_MESSAGES, NESTED_ENUMS = 2, 3, 4
METHODS, VALUES = 2, 2
Place = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class MessageEntry:
    """A message of a file; `name` is that of the package's scope, as in `AlsoViewedProduct.Origin`."""

    name: str
    message: DescriptorProto
    place: Place


@dataclass(frozen=True, slots=True)
class EnumEntry:
    """An enumeration of a file, named like a message."""

    name: str
    enum: EnumDescriptorProto
    place: Place


class Contract:
    """One file and the comments in it, by path."""

    def __init__(self, file: FileDescriptorProto) -> None:
        self.file = file
        places = file.source_code_info.location
        self._comments: Mapping[Place, str] = {tuple(place.path): place.leading_comments for place in places}
        [self._about] = [
            "\n\n".join(place.leading_detached_comments) for place in places if list(place.path) == [SYNTAX]
        ]

    def comment(self, *path: int) -> str:
        """What stands over a part of the file; lines keep the space after their slashes."""
        return self._comments.get(path, "").strip("\n")

    def about(self) -> str:
        """What stands on top of the file."""
        return self._about

    def entries(self) -> Iterator[MessageEntry | EnumEntry]:
        """All messages and enumerations in the order of the file; those within a message follow it."""
        order = [
            *((self._line(MESSAGES, index), self._of_message("", message, (MESSAGES, index)))
              for index, message in enumerate(self.file.message_type)),
            *((self._line(ENUMS, index), iter([EnumEntry(enum.name, enum, (ENUMS, index))]))
              for index, enum in enumerate(self.file.enum_type)),
        ]  # fmt: skip
        for _, entries in sorted(order, key=lambda each: each[0]):
            yield from entries

    def _line(self, *path: int) -> int:
        [line] = [each.span[0] for each in self.file.source_code_info.location if tuple(each.path) == path]
        return line

    def _of_message(self, scope: str, message: DescriptorProto, path: Place) -> Iterator[MessageEntry | EnumEntry]:
        if message.options.map_entry:
            return
        yield MessageEntry(scope + message.name, message, path)
        inner = f"{scope}{message.name}."
        for index, enum in enumerate(message.enum_type):
            yield EnumEntry(inner + enum.name, enum, (*path, NESTED_ENUMS, index))
        for index, nested in enumerate(message.nested_type):
            yield from self._of_message(inner, nested, (*path, NESTED_MESSAGES, index))


def type_of(field: FieldDescriptorProto, message: DescriptorProto) -> str:
    """The type of a field as proto files write it, messages by their names within the package."""
    name = field.type_name.removeprefix(".").removeprefix("lookalike.v1.")
    for nested in message.nested_type:
        if nested.options.map_entry and name.endswith(f".{nested.name}"):
            key, value = (type_of(each, nested) for each in nested.field)
            return f"map<{key}, {value}>"
    return name or FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()


def read_contract() -> dict[str, Contract]:
    """The files of lookalike.v1 by their names without ending."""
    sources = sorted((ROOT / "proto" / "lookalike" / "v1").glob("*.proto"))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "descriptors"
        command = [sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={ROOT / 'proto'}",
                   "--include_source_info", f"--descriptor_set_out={out}", *map(str, sources)]  # fmt: skip
        subprocess.run(command, check=True)
        files = FileDescriptorSet.FromString(out.read_bytes()).file
    return {Path(file.name).stem: Contract(file) for file in files}
