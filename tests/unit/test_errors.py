"""The error tree: each class has a code and a reason, and its own docstring shows it."""

from __future__ import annotations

import grpc
import pytest

from lookalike_service import errors
from lookalike_service.errors import LookalikeError
from lookalike_service.interceptor import describe, status_of
from support_gateway import taken_apart

TREE = [
    each
    for each in vars(errors).values()
    if isinstance(each, type) and issubclass(each, LookalikeError) and each is not LookalikeError
]


def build(kind: type[LookalikeError]) -> LookalikeError:
    return errors.FilterMalformed("wrong", position=3) if kind is errors.FilterMalformed else kind("wrong")


@pytest.mark.parametrize("kind", TREE)
def test_every_error_has_a_code_and_a_reason_of_its_own(kind: type[LookalikeError]) -> None:
    status = status_of(build(kind))
    found = taken_apart(status)
    assert found.code is kind.code is not grpc.StatusCode.INTERNAL
    assert (found.reason, found.domain) == (kind.reason, "lookalike")
    assert found.message.startswith("wrong")
    assert (found.retry_seconds is None) == (kind.default_retry_after is None)


def test_the_tree_in_the_docstring_is_whole() -> None:
    assert errors.__doc__ is not None
    for kind in TREE:
        assert f" {kind.__name__} " in errors.__doc__
        assert f" {kind.reason}" in errors.__doc__
    assert set(errors.__all__) == {kind.__name__ for kind in TREE} | {"LookalikeError", "StartupError"}
    assert len({kind.reason for kind in TREE}) == len(TREE)


def test_details() -> None:
    error = errors.RegionInvalid("no area", field="regions[3].box", metadata={"x": "y" * 500}, retry_after=0.25)
    found = taken_apart(status_of(error))
    assert (found.field, found.retry_seconds) == ("regions[3].box", 0.25)
    assert found.metadata == {"x": "y" * 200}


def test_a_long_sentence_is_cut() -> None:
    assert status_of(errors.RequestInvalid("x" * 5000)).message == "x" * 597 + "..."


def test_the_unforeseen_is_logged_and_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise ValueError("secret")
    except ValueError as error:
        described = describe(error, doing="a test")
    assert described.message == "internal error"
    assert "Traceback" in caplog.text
    assert "ValueError: secret" in caplog.text


def test_the_foreseen_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    error = errors.Overloaded("busy")
    assert describe(error, doing="a test") is error
    assert caplog.text == ""
