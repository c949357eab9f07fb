"""The filter grammar, and what becomes of it in Milvus."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookalike_service.errors import FilterMalformed
from lookalike_service.expression import milvus_expression
from lookalike_service.filter import And, Comparison, Node, Not, Or, both, parse, without_not

RED = Comparison("colors", ":", "red")
CHEAP = Comparison("price", "<", 5)


def expression(text: str) -> str:
    node = parse(text)
    assert node is not None
    return milvus_expression(node)


@pytest.mark.parametrize("text", ["", "  ", "\n\t"])
def test_nothing_is_no_filter(text: str) -> None:
    assert parse(text) is None


@pytest.mark.parametrize(
    ("text", "node"),
    [
        ("available", Comparison("available", "=", True)),
        ("price<5", CHEAP),
        ('price < 5 AND colors:"red"', And((CHEAP, RED))),
        ("(price < 5) OR colors : 'red' OR available", Or((CHEAP, RED, Comparison("available", "=", True)))),
        ('NOT (price < 5 AND colors : "red")', Not(And((CHEAP, RED)))),
        ("NOT NOT price < 5", Not(Not(CHEAP))),
        ("attributes.fit = 'slim'", Comparison("fit", "=", "slim", attribute=True)),
        ("attributes.price >= -1.5e2", Comparison("price", ">=", -150.0, attribute=True)),
        ("attributes.sale", Comparison("sale", "=", True, attribute=True)),
        (r'brand = "a\"b\\c"', Comparison("brand", "=", r'a"b\c')),
        ("brand = 'AND'", Comparison("brand", "=", "AND")),
        ("((((price < 5))))", CHEAP),
    ],
)
def test_what_is_read(text: str, node: Node) -> None:
    assert parse(text) == node


@pytest.mark.parametrize(
    ("text", "position", "sentence"),
    [
        ("color = 'red'", 0, "unknown field 'color'; there are category, brand, price"),
        ("price <", 7, "found 'the end'"),
        ("price < 1.5", 8, "a whole number of minor units"),
        ("price < 'x'", 8, "a whole number of minor units"),
        ("price < true", 8, "a whole number of minor units"),
        ("price < 99999999999999999999", 8, "beyond 2^53"),
        ("attributes.x < 1e999", 15, "beyond 2^53"),
        ("price < " + "1" * 5000, 8, "too many digits"),
        ("available = 1", 12, "true or false"),
        ("brand = red", 8, "a text in quotes"),
        ("brand < 'a'", 6, "takes = !="),
        ("brand", 5, "expected an operator"),
        ("colors = 'red'", 7, "takes :"),
        ("attributes.x : 'a'", 13, "takes = !="),
        ("attributes.x < 'a'", 13, "takes = !="),
        ("attributes.x-y = 1", 12, "unexpected '-'"),
        ("attributes.1x = 1", 0, "unknown field"),
        ("attributes = 1", 0, "unknown field"),
        ("brand = 'open", 8, "not closed"),
        ('brand = "a\\"', 8, "not closed"),
        ("brand = 'a\nb'", 8, "control characters"),
        ("available AND", 13, "expected a field"),
        ("AND available", 0, "expected a field"),
        ("available available", 10, "expected AND or OR"),
        ("available AND available OR available", 24, "needs parentheses"),
        ("(available", 10, "closing parenthesis"),
        ("available)", 9, "expected AND or OR"),
        ("price == 5", 7, "found '='"),
        ("price < 5; drop", 9, "unexpected ';'"),
        ("(" * 40 + "available" + ")" * 40, 33, "nest deeper"),
        ("NOT " * 40 + "available", 132, "nest deeper"),
        (" OR ".join(["available"] * 257), 256 * 13, "more than 256"),
        ("x" * 8193, 8192, "longer than"),
    ],
)
def test_what_is_refused_and_where(text: str, position: int, sentence: str) -> None:
    with pytest.raises(FilterMalformed) as caught:
        parse(text)
    assert caught.value.position == position
    assert sentence in caught.value.message
    assert caught.value.metadata == {"position": str(position)}


def test_not_is_pushed_into_comparisons() -> None:
    node = parse('NOT (price < 5 OR (available AND NOT colors : "red"))')
    assert node is not None
    wanted = And((Comparison("price", ">=", 5), Or((Comparison("available", "!=", True), RED))))
    assert without_not(node) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("available", "available == true"),
        ("NOT available", "available == false"),
        ("price < 5", "(price >= 0 and price < 5)"),
        ("price != 5", "(price < 0 or price != 5)"),
        ("brand = '日本'", 'brand == "日本"'),
        ('category = "top"', '(category == "top" or (category >= "top/" and category < "top0"))'),
        ('NOT category = "top"', '(category != "top" and (category < "top/" or category >= "top0"))'),
        ('NOT colors : "red"', '(not (array_contains(colours, "red")))'),
        ("attributes.x = 3", '(attributes["x"] == 3)'),
        ("attributes.x != 3", '((not (exists attributes["x"])) or (attributes["x"] != 3))'),
        ("available AND (price < 5 OR price > 9)",
         "(available == true and ((price >= 0 and price < 5) or (price >= 0 and price > 9)))"),
    ],
)  # fmt: skip
def test_what_milvus_gets(text: str, wanted: str) -> None:
    assert expression(text) == wanted


@given(st.text())
def test_no_value_breaks_out_of_its_quotes(value: str) -> None:
    """Whatever a caller writes stays inside one literal that reads back as the value."""
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    try:
        written = expression(f'brand = "{quoted}"')
    except FilterMalformed:
        assert any(ord(letter) < 32 or ord(letter) == 127 for letter in value) or len(value) > 4000
        return
    assert written.startswith("brand == ")
    literal, end = json.JSONDecoder().raw_decode(written, len("brand == "))
    assert (literal, end) == (value, len(written))


@given(st.text(alphabet="abc()'\"\\ <>=:!ANDORNOT.price0123456789", max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        node = parse(text)
    except FilterMalformed as error:
        assert 0 <= error.position <= len(text)
    else:
        assert node is None or milvus_expression(node)


def test_both() -> None:
    assert both(None, None) is None
    assert both(RED, None) == both(None, RED) == RED
    assert both(RED, CHEAP) == And((RED, CHEAP))
