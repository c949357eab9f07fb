"""The filter grammar of the API: text -> tree (expression.py has the way on to Milvus, store.py to SQL).

A subset of AIP-160 over declared fields:

    filter     = [ expression ]
    expression = factor { "AND" factor } | factor { "OR" factor }
    factor     = [ "NOT" ] ( "(" expression ")" | term )
    term       = FIELD [ ( "=" | "!=" | "<" | "<=" | ">" | ">=" | ":" ) VALUE ]
    VALUE      = "text" | 'text' | number | true | false

AND beside OR without parentheses is refused, since AIP-160 and SQL read it differently. What a product does not
have equals nothing: `=` does not hold, `!=` and `NOT ... =` do, and `<`, `<=`, `>`, `>=` hold neither plain nor
negated.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import Final

from lookalike_service.errors import FilterMalformed

__all__ = ["LONGEST_FILTER", "And", "Comparison", "Kind", "Node", "Not", "Or", "both", "parse", "without_not"]

LONGEST_FILTER: Final = 8192
DEEPEST: Final = 32
MOST_TERMS: Final = 256
# Whole numbers beyond this are not exact in JSON.
LARGEST_INTEGER: Final = 2**53
LONGEST_NUMBER: Final = 32

Value = str | int | float | bool


class Kind(enum.Enum):
    """What a field can be compared with."""

    TEXT = "a text in quotes"
    MINOR_UNITS = "a whole number of minor units"
    FLAG = "true or false"
    TEXTS = "one word in quotes"
    ANY = "a text in quotes, a number, true or false"


FIELDS: Final = {
    "category": Kind.TEXT,
    "brand": Kind.TEXT,
    "price": Kind.MINOR_UNITS,
    "available": Kind.FLAG,
    "colors": Kind.TEXTS,
    "pattern": Kind.TEXT,
}
ATTRIBUTE: Final = re.compile(r"attributes\.([A-Za-z_][A-Za-z0-9_]{0,63})")
OPERATORS: Final = {
    Kind.TEXT: ("=", "!="),
    Kind.MINOR_UNITS: ("=", "!=", "<", "<=", ">", ">="),
    Kind.FLAG: ("=", "!="),
    Kind.TEXTS: (":",),
}
OPPOSITE: Final = {"=": "!=", "!=": "=", "<": ">=", ">=": "<", ">": "<=", "<=": ">", ":": "!:", "!:": ":"}


@dataclass(frozen=True, slots=True)
class Comparison:
    """`field operator value`; `field` is a declared name, or the key of an attribute when `attribute` is set.

    `!:`, the opposite of `:`, is written by `without_not` only.
    """

    field: str
    operator: str
    value: Value
    attribute: bool = False


@dataclass(frozen=True, slots=True)
class And:
    """All of two or more."""

    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """At least one of two or more."""

    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite of a node."""

    node: Node


Node = Comparison | And | Or | Not


def both(left: Node | None, right: Node | None) -> Node | None:
    """The conjunction of two filters, either of which may be missing."""
    return And((left, right)) if left and right else left or right


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the text; `position` counts characters from 0."""

    kind: str
    text: str
    position: int


TOKEN: Final = re.compile(
    r"""\s*(?:(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
           |(?P<number>-?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?![\w.]))
           |(?P<word>[^\W\d][\w.]*)
           |(?P<operator><=|>=|!=|[=<>:])
           |(?P<parenthesis>[()]))""",
    re.VERBOSE | re.DOTALL,
)


def tokens_of(source: str) -> list[Token]:
    """Cut the text into tokens, ended by one of kind `end`. Raises FilterMalformed."""
    tokens: list[Token] = []
    position = 0
    end = len(source.rstrip())
    while position < end:
        found = TOKEN.match(source, position)
        if found is None:
            position = len(source) - len(source[position:].lstrip())
            if source[position] in "\"'":
                raise FilterMalformed("a text that is not closed", position=position)
            raise FilterMalformed(f"unexpected {source[position]!r}", position=position)
        kind = str(found.lastgroup)
        tokens.append(Token(kind=kind, text=found[kind], position=found.start(kind)))
        position = found.end()
    tokens.append(Token(kind="end", text="", position=end))
    return tokens


class Parser:
    """One pass over the tokens of one filter."""

    def __init__(self, source: str) -> None:
        self.tokens = tokens_of(source)
        self.next = 0
        self.terms = 0

    def peek(self) -> Token:
        return self.tokens[self.next]

    def take(self) -> Token:
        token = self.tokens[self.next]
        self.next += 1
        return token

    def whole(self) -> Node:
        node = self.expression(depth=0)
        rest = self.peek()
        if rest.kind != "end":
            raise FilterMalformed(f"expected AND or OR before {rest.text!r}", position=rest.position)
        return node

    def expression(self, *, depth: int) -> Node:
        nodes = [self.factor(depth=depth)]
        joiner = self.peek().text if self.peek().kind == "word" else ""
        while joiner in ("AND", "OR") and self.peek().text == joiner:
            self.take()
            nodes.append(self.factor(depth=depth))
            if self.peek().text in ("AND", "OR") and self.peek().text != joiner:
                raise FilterMalformed("AND beside OR needs parentheses", position=self.peek().position)
        if len(nodes) == 1:
            return nodes[0]
        return And(tuple(nodes)) if joiner == "AND" else Or(tuple(nodes))

    def factor(self, *, depth: int) -> Node:
        token = self.peek()
        if depth > DEEPEST:
            raise FilterMalformed(f"parentheses and NOT nest deeper than {DEEPEST}", position=token.position)
        if token.kind == "word" and token.text == "NOT":
            self.take()
            return Not(self.factor(depth=depth + 1))
        if token.text == "(" and token.kind == "parenthesis":
            self.take()
            node = self.expression(depth=depth + 1)
            closing = self.take()
            if closing.text != ")" or closing.kind != "parenthesis":
                raise FilterMalformed("expected a closing parenthesis", position=closing.position)
            return node
        return self.term()

    def term(self) -> Node:
        name = self.take()
        self.terms += 1
        if self.terms > MOST_TERMS:
            raise FilterMalformed(f"more than {MOST_TERMS} comparisons", position=name.position)
        if name.kind != "word" or name.text in ("AND", "OR"):
            raise FilterMalformed(f"expected a field, found {name.text or 'the end'!r}", position=name.position)
        attribute = ATTRIBUTE.fullmatch(name.text)
        kind = Kind.ANY if attribute else FIELDS.get(name.text)
        if kind is None:
            known = ", ".join([*FIELDS, "attributes.KEY"])
            raise FilterMalformed(f"unknown field {name.text!r}; there are {known}", position=name.position)
        field = attribute[1] if attribute else name.text
        if self.peek().kind != "operator":
            if kind not in (Kind.FLAG, Kind.ANY):
                raise FilterMalformed(f"expected an operator after {name.text!r}", position=self.peek().position)
            return Comparison(field, "=", value=True, attribute=bool(attribute))
        operator = self.take()
        value = self.value(kind)
        allowed = OPERATORS[kind] if kind in OPERATORS else _operators_for(value)
        if operator.text not in allowed:
            raise FilterMalformed(f"{name.text!r} takes {' '.join(allowed)} here", position=operator.position)
        return Comparison(field, operator.text, value=value, attribute=bool(attribute))

    def value(self, kind: Kind) -> Value:
        token = self.take()
        value = _value_of(token)
        fits = {
            Kind.TEXT: isinstance(value, str),
            Kind.TEXTS: isinstance(value, str),
            Kind.MINOR_UNITS: isinstance(value, int) and not isinstance(value, bool),
            Kind.FLAG: isinstance(value, bool),
            Kind.ANY: value is not None,
        }
        if value is None or not fits[kind]:
            raise FilterMalformed(f"expected {kind.value}, found {token.text or 'the end'!r}", position=token.position)
        return value


def _operators_for(value: Value) -> tuple[str, ...]:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return OPERATORS[Kind.MINOR_UNITS if is_number else Kind.TEXT]


def _value_of(token: Token) -> Value | None:
    if token.kind == "text":
        # Milvus Lite knows no escape for control characters, and no shop needs them.
        if re.search(r"[\x00-\x1f\x7f]", token.text):
            raise FilterMalformed("a text with control characters", position=token.position)
        return re.sub(r"\\(.)", r"\1", token.text[1:-1])
    if token.kind == "word" and token.text in ("true", "false"):
        return token.text == "true"
    if token.kind != "number":
        return None
    if len(token.text) > LONGEST_NUMBER:
        raise FilterMalformed("a number with too many digits", position=token.position)
    number: int | float = int(token.text) if re.fullmatch(r"-?[0-9]+", token.text) else float(token.text)
    if abs(number) > LARGEST_INTEGER:
        raise FilterMalformed("a number beyond 2^53", position=token.position)
    return number


def parse(source: str) -> Node | None:
    """Read a filter; None when it is empty. Raises FilterMalformed with the position of the fault."""
    if len(source) > LONGEST_FILTER:
        raise FilterMalformed(f"longer than {LONGEST_FILTER} characters", position=LONGEST_FILTER)
    return Parser(source).whole() if source.strip() else None


def without_not(node: Node, *, negated: bool = False) -> Node:
    """The same filter with every NOT pushed into its comparisons, which fixes what NOT means for missing values."""
    match node:
        case Not(inner):
            return without_not(inner, negated=not negated)
        case And(nodes) | Or(nodes):
            turned = tuple(without_not(each, negated=negated) for each in nodes)
            return And(turned) if isinstance(node, And) is not negated else Or(turned)
        case Comparison(field, operator, value, attribute):
            return Comparison(field, OPPOSITE[operator], value, attribute) if negated else node
