"""Whatever text comes, a filter parses or says where it does not, and what Milvus gets has its values quoted."""

from __future__ import annotations

import re
import sys

import atheris

with atheris.instrument_imports(include=["lookalike_service.filter", "lookalike_service.expression"]):
    from lookalike_service.expression import milvus_expression
    from lookalike_service.filter import parse

from lookalike_service.errors import FilterMalformed

# What is left of an expression without its texts: words and signs of ours alone.
TEXT = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
OURS = re.compile(
    r"(?:[\s()\[\],.\d<>=!+-]|e[+-]|and|or|not|exists|attributes|category|brand|price|available|pattern|colours"
    r"|array_contains|true|false)*"
)


def one_input(data: bytes) -> None:
    """Parse it, and say it to Milvus."""
    # Half characters do not get through protobuf.
    text = data.decode("utf-8", "replace")
    try:
        node = parse(text)
    except FilterMalformed as error:
        assert 0 <= error.position <= max(len(text), 1)
        return
    if node is not None:
        expression = milvus_expression(node)
        bare = TEXT.sub("", expression)
        assert OURS.fullmatch(bare), bare


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
