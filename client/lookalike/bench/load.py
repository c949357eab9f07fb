"""Load on a server, closed loop or open loop, and what a run of it came to."""

from __future__ import annotations

import asyncio
import itertools
import math
import random
import selectors
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from hdrh.histogram import HdrHistogram

__all__ = ["PERCENTILES", "Answer", "Call", "Run", "arrivals", "closed_loop", "event_loop", "open_loop"]

OK, NOT_SENT = "OK", "NOT_SENT"
PERCENTILES = (50.0, 90.0, 95.0, 99.0, 99.9)
# Histograms hold microseconds up to an hour, with three significant digits.
LONGEST_US = 3_600_000_000


@dataclass(frozen=True, slots=True)
class Answer:
    """What one request came to.

    `code` is the name of a gRPC code, or "HTTP 503" and the like; `phases` seconds by name, for where the time went;
    `garments` how many the answer holds.
    """

    code: str = OK
    phases: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    garments: int = 0


Call = Callable[[int], Awaitable[Answer]]
"""Sends the request of that number, counted from 0. Refusals are answers; what it raises counts as its type's name."""


@dataclass(frozen=True, slots=True)
class Run:
    """What a run came to; times of `latencies` and `delays` are in microseconds.

    Of the requests that were due within the window of `seconds` after the warm-up: how many there were, the latencies
    of those answered OK, all their codes, the sums of the OK answers' phases in seconds and of their garments, and how
    many were OK within `in_time` (all of them without one). `delays` says how much later than intended the generator
    began them. `answered` is another set: the OK answers that arrived within the window, whenever they were asked.
    """

    seconds: float
    requests: int
    answered: int
    latencies: HdrHistogram
    delays: HdrHistogram
    codes: Counter[str]
    phases: Mapping[str, float]
    garments: int
    good: int
    rate: float | None = None
    callers: int | None = None
    in_time: float | None = None

    @property
    def throughput(self) -> float:
        """OK answers per second that arrived within the window."""
        return self.answered / self.seconds

    @property
    def goodput(self) -> float:
        """OK answers within `in_time` per second; the throughput when there is no such bound."""
        return self.throughput if self.in_time is None else self.good / self.seconds

    @property
    def ok_share(self) -> float:
        """The share of requests that were answered OK; 0 without any."""
        return self.codes[OK] / self.requests if self.requests else 0.0

    @property
    def late_ms(self) -> float:
        """Milliseconds by which 1 % of the requests, or more of them, were begun later than intended."""
        return _milliseconds(self.delays, 99.0)

    def percentile(self, percent: float) -> float:
        """Milliseconds within which that share of the OK answers came; NaN without any."""
        return _milliseconds(self.latencies, percent)

    def mean(self) -> float:
        """The mean latency of the OK answers in milliseconds; NaN without any."""
        return float(self.latencies.get_mean_value()) / 1000 if self.codes[OK] else math.nan

    def mean_phases(self) -> dict[str, float]:
        """Milliseconds per OK answer by name of the phase."""
        return {name: seconds * 1000 / self.codes[OK] for name, seconds in self.phases.items()}

    def to_json(self) -> dict[str, object]:
        """The run as JSON can hold it; `histogram` is HdrHistogram's own text form, which tools can merge and plot."""
        latencies = {f"p{percent:g}": self.percentile(percent) for percent in PERCENTILES}
        latencies |= {"mean": self.mean(), "max": self.percentile(100.0)}
        return {
            "rate": self.rate,
            "callers": self.callers,
            "seconds": self.seconds,
            "requests": self.requests,
            "codes": dict(self.codes.most_common()),
            "throughput": self.throughput,
            "in_time_seconds": self.in_time,
            "goodput": self.goodput,
            "garments": self.garments,
            "latency_ms": {name: None if math.isnan(value) else value for name, value in latencies.items()},
            "late_ms": None if math.isnan(self.late_ms) else self.late_ms,
            "phases_ms": self.mean_phases(),
            "histogram": self.latencies.encode().decode("ascii"),
        }


def _milliseconds(histogram: HdrHistogram, percent: float) -> float:
    return float(histogram.get_value_at_percentile(percent)) / 1000 if histogram.get_total_count() else math.nan


def _record(histogram: HdrHistogram, seconds: float) -> None:
    histogram.record_value(min(max(round(seconds * 1e6), 1), LONGEST_US))


class _Recorder:
    """Takes down what becomes of each request, by the clock of the event loop."""

    def __init__(self, *, opens: float, closes: float, in_time: float | None) -> None:
        self._opens, self.closes, self._in_time = opens, closes, in_time
        self._latencies, self._delays = HdrHistogram(1, LONGEST_US, 3), HdrHistogram(1, LONGEST_US, 3)
        self._codes: Counter[str] = Counter()
        self._phases: Counter[str] = Counter()
        self._answered = self._garments = self._good = 0

    async def send(self, call: Call, number: int, *, intended: float) -> None:
        """Send a request and count from the moment at which it was intended."""
        clock = asyncio.get_running_loop().time
        begun = clock()
        try:
            answer = await call(number)
        except Exception as error:
            answer = Answer(code=type(error).__name__)
        ended = clock()
        if intended >= self._opens:
            _record(self._delays, begun - intended)
        self.note(answer, intended=intended, ended=ended)

    def note(self, answer: Answer, *, intended: float, ended: float) -> None:
        """Count an answer that came at `ended`."""
        ok = answer.code == OK
        if ok and self._opens <= ended < self.closes:
            self._answered += 1
        if intended < self._opens:
            return
        self._codes[answer.code] += 1
        if not ok:
            return
        _record(self._latencies, ended - intended)
        self._garments += answer.garments
        self._good += self._in_time is None or ended - intended <= self._in_time
        for name, seconds in answer.phases.items():
            self._phases[name] += seconds  # type: ignore[assignment]  # a Counter adds floats as well

    def run(self, *, rate: float | None = None, callers: int | None = None) -> Run:
        """What it has come to."""
        return Run(
            seconds=self.closes - self._opens,
            requests=self._codes.total(),
            answered=self._answered,
            latencies=self._latencies,
            delays=self._delays,
            codes=self._codes,
            phases=dict(self._phases),
            garments=self._garments,
            good=self._good,
            rate=rate,
            callers=callers,
            in_time=self._in_time,
        )


async def closed_loop(
    call: Call, *, callers: int, seconds: float, warmup: float = 2.0, in_time: float | None = None
) -> Run:
    """Let so many callers ask one request after the other.

    Requests begun during the warm-up are not counted, and none are begun after the window; those under way then are
    waited for and counted. Throughput counts the OK answers that arrive within the window, also to requests of the
    warm-up: what the window takes in at its beginning it loses at its end, so slow answers do not distort it.
    """
    if callers < 1:
        raise ValueError(f"{callers} callers make no load; there must be at least one")
    _check_times(seconds=seconds, warmup=warmup)
    clock = asyncio.get_running_loop().time
    opens = clock() + warmup
    recorder = _Recorder(opens=opens, closes=opens + seconds, in_time=in_time)
    numbers = itertools.count()

    async def caller() -> None:
        while (now := clock()) < recorder.closes:
            await recorder.send(call, next(numbers), intended=now)

    async with asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(caller())
    return recorder.run(callers=callers)


async def open_loop(
    call: Call,
    *,
    rate: float,
    seconds: float,
    warmup: float = 2.0,
    seed: int = 0,
    in_time: float | None = None,
    most_in_flight: int = 10_000,
) -> Run:
    """Let requests come at random moments, `rate` per second on average, whether earlier ones are answered or not.

    The moments are drawn ahead (see arrivals; the same seed gives the same ones), and latency counts from them: a
    server that stalls is charged for all who would have come meanwhile. With `most_in_flight` under way, further ones
    count as NOT_SENT. Those under way after the window are waited for. Counts as closed_loop does.
    """
    if most_in_flight < 1:
        raise ValueError("at least one request must be allowed in flight")
    _check_times(seconds=seconds, warmup=warmup)
    loop = asyncio.get_running_loop()
    moments = arrivals(rate, seconds=seconds, warmup=warmup, seed=seed)
    begin = loop.time()
    recorder = _Recorder(opens=begin + warmup, closes=begin + warmup + seconds, in_time=in_time)
    running: set[asyncio.Task[None]] = set()
    async with asyncio.TaskGroup() as group:
        for number, moment in enumerate(moments):
            intended = begin + moment
            # Also when it is late already: answers must be taken in between, or lateness would feed on itself.
            await asyncio.sleep(max(intended - loop.time(), 0.0))
            if len(running) >= most_in_flight:
                recorder.note(Answer(code=NOT_SENT), intended=intended, ended=loop.time())
                continue
            task = group.create_task(recorder.send(call, number, intended=intended))
            running.add(task)
            task.add_done_callback(running.discard)
    return recorder.run(rate=rate)


def arrivals(rate: float, *, seconds: float, warmup: float, seed: int) -> list[float]:
    """Moments of a Poisson process: those of the warm-up, then those of the window that follows, in seconds.

    Both parts hold exactly as many as the rate says (at least one in the window); given their number, the moments of a
    Poisson process are uniform. Runs of one rate are then comparable however short they are.
    """
    if not 0 < rate < math.inf:
        raise ValueError(f"{rate:g} requests per second make no load; the rate must be more than 0")
    draw = random.Random(seed)
    early = sorted(draw.random() * warmup for _ in range(round(rate * warmup)))
    return early + sorted(warmup + draw.random() * seconds for _ in range(max(round(rate * seconds), 1)))


def _check_times(*, seconds: float, warmup: float) -> None:
    if not (0 < seconds < math.inf and 0 <= warmup < math.inf):
        raise ValueError(f"a run of {seconds:g} s after {warmup:g} s of warm-up measures nothing")


def event_loop() -> asyncio.AbstractEventLoop:
    """For asyncio.Runner(loop_factory=...): an event loop that is punctual to 0.1 ms.

    The usual one waits in whole milliseconds, so that requests of an open loop begin up to 1 ms late. This one cannot
    watch more than 1,000 sockets; gRPC watches its own.
    """
    return asyncio.SelectorEventLoop(selectors.SelectSelector())
