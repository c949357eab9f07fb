"""A process that dies at a chosen step of a write: calls to images, database and index, each before and after."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

__all__ = ["Died", "Mortal", "Steps"]


class Died(Exception):
    """The process is dead: this step was not done (or nobody heard that it was), and no later one will be."""


class Steps:
    """Counts the steps of a process; at number `last` it dies. Every call is two steps: before it and after it."""

    def __init__(self, last: int | None = None) -> None:
        self.last = last
        self.names: list[str] = []

    @property
    def dead(self) -> bool:
        """Whether the end has come."""
        return self.last is not None and len(self.names) > self.last

    def pass_by(self, name: str) -> None:
        """Take one step. Raises Died at the last one and ever after."""
        self.names.append(name)
        if self.dead:
            raise Died(name)


class Mortal:
    """Stands before an adapter; calls of the named methods are steps, and after the end nothing gets through."""

    def __init__(self, adapter: Any, steps: Steps, *methods: str) -> None:  # noqa: ANN401 - any adapter
        self._adapter = adapter
        self._steps = steps
        self._methods = methods

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        attribute = getattr(self._adapter, name)
        if not callable(attribute):
            return attribute
        return self._stepping(name, attribute) if name in self._methods else self._living(attribute)

    def _stepping(self, name: str, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def stepped(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401
            self._steps.pass_by(f"before {name}")
            answer = await call(*arguments, **named)
            self._steps.pass_by(f"after {name}")
            return answer

        return stepped

    def _living(self, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def living(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401
            if self._steps.dead:
                raise Died("before anything")
            return await call(*arguments, **named)

        return living
