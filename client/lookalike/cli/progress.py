"""How far a long command is: a bar on a terminal, a line every few seconds when piped."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.text import Text

from lookalike.formatting import counted, one_line

__all__ = ["LineProgress", "Progress", "open_progress"]

EVERY_SECONDS = 5.0
# The rate is that of so many seconds: what has not changed goes through far faster than what is new.
RATE_OVER_SECONDS = 30.0


class Progress(Protocol):
    """Counts products (or photos), and shows failures as they come."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def advance(self, *, failed: bool, count: int = 1) -> None:
        """One more is done, or `count` of them."""

    def say(self, text: str) -> None:
        """A line that stays."""


def open_progress(console: Console, *, total: int, doing: str, noun: str = "product") -> Progress:
    """The kind that suits where `console` writes."""
    if console.is_terminal:
        return _BarProgress(console, total=total, doing=doing)
    return LineProgress(lambda line: console.print(Text(line), soft_wrap=True), total=total, noun=noun)


class _Rate(ProgressColumn):
    """Products per second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "", style="cyan")


class _BarProgress:
    def __init__(self, console: Console, *, total: int, doing: str) -> None:
        columns = (
            TextColumn(doing),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[failed]}", style="red"),
        )
        self._bar = RichProgress(*columns, console=console, transient=True, speed_estimate_period=RATE_OVER_SECONDS)
        self._task = self._bar.add_task("", total=total, failed="")
        self._failed = 0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def advance(self, *, failed: bool, count: int = 1) -> None:
        if failed:
            self._failed += count
            self._bar.update(self._task, failed=f"{self._failed:,} failed")
        self._bar.advance(self._task, count)

    def say(self, text: str) -> None:
        self._bar.console.print(Text(one_line(text), style="red"), soft_wrap=True)


class LineProgress:
    """Writes `1,200 of 10,000 products, 85.3/s, 2 failed, about 1 min 43 s left` now and then."""

    def __init__(
        self,
        write: Callable[[str], None],
        *,
        total: int,
        noun: str = "product",
        every: float = EVERY_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write = write
        self._total = total
        self._noun = noun
        self._every = every
        self._clock = clock
        self._done = 0
        self._failed = 0
        self._written = clock()
        self._marks = deque([(self._written, 0)])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def advance(self, *, failed: bool, count: int = 1) -> None:
        """One product is done, or `count` of them."""
        self._done += count
        self._failed += count if failed else 0
        now = self._clock()
        if now - self._written >= self._every:
            self._written = now
            self._write(self._line(now))
            self._marks.append((now, self._done))
            while len(self._marks) > 2 and now - self._marks[0][0] > RATE_OVER_SECONDS:
                self._marks.popleft()

    def _line(self, now: float) -> str:
        began, done = self._marks[0]
        rate = (self._done - done) / (now - began)
        parts = [f"{self._done:,} of {counted(self._total, self._noun)}", f"{rate:.1f}/s"]
        if self._failed:
            parts.append(f"{self._failed:,} failed")
        if rate > 0 and self._done < self._total:
            parts.append(f"about {_time_text((self._total - self._done) / rate)} left")
        return ", ".join(parts)

    def say(self, text: str) -> None:
        """A line that stays."""
        self._write(one_line(text))


def _time_text(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
