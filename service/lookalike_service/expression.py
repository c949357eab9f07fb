"""A filter tree as the expression that Milvus understands."""

from __future__ import annotations

import json

from lookalike_service.filter import And, Comparison, Node, Not, Or, without_not

__all__ = ["milvus_expression"]


def milvus_expression(node: Node) -> str:
    """The filter as Milvus understands it, the same on Lite and on servers from 2.3; every value is quoted."""
    return _expression(without_not(node))


def _expression(node: Node) -> str:
    match node:
        case And(nodes):
            return "(" + " and ".join(map(_expression, nodes)) + ")"
        case Or(nodes):
            return "(" + " or ".join(map(_expression, nodes)) + ")"
        case Comparison():
            return _term(node)
        case Not():
            raise ValueError("NOT is gone by now")


def _term(term: Comparison) -> str:
    # Servers refuse \ud83d escapes of half characters, so other alphabets stay as they are.
    value = json.dumps(term.value, ensure_ascii=False)
    operator = "==" if term.operator == "=" else term.operator
    if term.attribute:
        # Lite has three-valued logic for a missing key, servers have not; said this way they agree.
        path = f'attributes["{term.field}"]'
        return f"((not (exists {path})) or ({path} != {value}))" if operator == "!=" else f"({path} {operator} {value})"
    if term.field == "category":
        # `top` holds for `top/t-shirt`; 0 is the character behind /. LIKE would need its own escaping.
        low, high = (json.dumps(f"{term.value}{end}", ensure_ascii=False) for end in "/0")
        if operator == "==":
            return f"(category == {value} or (category >= {low} and category < {high}))"
        return f"(category != {value} and (category < {low} or category >= {high}))"
    if term.field == "price":
        # A missing price is stored as -1.
        return f"(price < 0 or price != {value})" if operator == "!=" else f"(price >= 0 and price {operator} {value})"
    if term.field == "available":
        return f"available == {json.dumps(term.value is (operator == '=='))}"
    if term.field == "colors":
        contains = f"array_contains(colours, {value})"
        return contains if operator == ":" else f"(not ({contains}))"
    return f"{term.field} {operator} {value}"
