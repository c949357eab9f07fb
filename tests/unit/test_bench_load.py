"""Load and its statistics, on a clock that jumps: servers with known delays, so that every figure is known."""

from __future__ import annotations

import asyncio
import json
import math
import random
import statistics
from collections.abc import Awaitable, Callable, Coroutine
from itertools import pairwise

import pytest
from hdrh.histogram import HdrHistogram

from lookalike.bench import Answer, Call, Run, closed_loop, event_loop, open_loop, sweep
from lookalike.bench.load import arrivals
from lookalike.bench.measuring import Measured, measure
from support_clock import JumpingLoop, jump

MakeRun = Callable[[float], Awaitable[Run]]
FEW_DIGITS = 0.002


def now() -> float:
    return asyncio.get_running_loop().time()


async def steady(number: int) -> Answer:
    await asyncio.sleep(0.010)
    return Answer(phases={"search": 0.006, "own": 0.001}, garments=2)


def stalled_from_5_to_6() -> Call:
    async def call(number: int) -> Answer:
        if 5 <= now() < 6:
            await asyncio.sleep(6 - now())
        await asyncio.sleep(0.001)
        return Answer()

    return call


# Closed loop


def test_callers_ask_one_request_after_the_other() -> None:
    run = jump(closed_loop(steady, callers=4, seconds=2, warmup=1))
    assert run.throughput == pytest.approx(400, rel=0.01)
    assert run.requests == run.codes["OK"] == pytest.approx(800, abs=4)
    assert run.percentile(50) == run.percentile(99.9) == pytest.approx(10, rel=FEW_DIGITS)
    assert run.garments == 2 * run.requests
    assert run.mean_phases() == pytest.approx({"search": 6, "own": 1})
    assert run.seconds == pytest.approx(2) and run.callers == 4 and run.rate is None and run.late_ms < 0.01


def test_the_warm_up_does_not_count() -> None:
    async def call(number: int) -> Answer:
        await asyncio.sleep(0.5 if now() < 1 else 0.010)
        return Answer(code="OK" if now() > 1.0001 else "UNAVAILABLE")

    run = jump(closed_loop(call, callers=2, seconds=1, warmup=1))
    assert run.percentile(100) == pytest.approx(10, rel=FEW_DIGITS)
    assert set(run.codes) == {"OK"}


def test_slow_answers_at_the_edges_are_neither_lost_nor_counted_twice() -> None:
    """Each request takes 1 s and the window is from 0.5 to 2.5: two answers of each caller lie in it."""

    async def call(number: int) -> Answer:
        await asyncio.sleep(1)
        return Answer()

    run = jump(closed_loop(call, callers=3, seconds=2, warmup=0.5))
    assert run.throughput == pytest.approx(3)
    # Begun at 1 and 2; those of 2 are waited for, though they come after the window.
    assert run.requests == 6 and run.percentile(100) == pytest.approx(1000, rel=FEW_DIGITS)


# Open loop


def test_a_stall_shows_in_an_open_loop_and_hides_in_a_closed_one() -> None:
    """Coordinated omission: of those who come during a second's stall nine in ten wait for more than 100 ms."""
    closed = jump(closed_loop(stalled_from_5_to_6(), callers=1, seconds=9, warmup=1))
    opened = jump(open_loop(stalled_from_5_to_6(), rate=100, seconds=9, warmup=1))
    assert closed.percentile(99.9) == pytest.approx(1, rel=FEW_DIGITS)
    assert closed.percentile(100) == pytest.approx(1000, rel=0.01)
    # A ninth of the requests fell into the stall, and waited uniformly up to 1 s.
    assert opened.percentile(85) == pytest.approx(1, rel=FEW_DIGITS)
    assert opened.percentile(95) == pytest.approx(1000 * (1 - 0.05 * 9), rel=0.15)
    assert opened.percentile(99) == pytest.approx(1000 * (1 - 0.01 * 9), rel=0.05)


def test_latency_counts_from_when_a_request_was_due() -> None:
    """A generator that is held up says so, and charges the delay to nobody in silence."""

    async def call(number: int) -> Answer:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, JumpingLoop)
        loop.block(0.020)
        return Answer()

    run = jump(open_loop(call, rate=100, seconds=5, warmup=0))
    assert run.late_ms == pytest.approx(5000, rel=0.05)
    assert run.percentile(99) == pytest.approx(run.late_ms + 20, rel=0.01)
    [late, *_] = jump(measured(run)).doubts()
    assert "this machine was too busy for 100 requests/s" in late


async def measured(run: Run) -> Measured:
    return Measured(run, cpu=0.1)


def test_what_comes_above_the_bound_in_flight_is_not_sent() -> None:
    async def call(number: int) -> Answer:
        await asyncio.sleep(100)
        return Answer()

    run = jump(open_loop(call, rate=50, seconds=2, warmup=0, most_in_flight=5))
    assert run.codes == {"OK": 5, "NOT_SENT": 95}
    assert run.throughput == 0 and run.ok_share == 0.05


def test_goodput_is_what_came_in_time() -> None:
    async def call(number: int) -> Answer:
        await asyncio.sleep(0.010 if number % 4 else 0.300)
        return Answer()

    run = jump(open_loop(call, rate=200, seconds=10, warmup=0, in_time=0.1))
    assert run.goodput == pytest.approx(150, rel=0.01)
    assert run.throughput == pytest.approx(200, rel=0.02)
    assert run.good == 1500


def test_errors_are_counted_by_code_and_have_no_latency() -> None:
    async def call(number: int) -> Answer:
        await asyncio.sleep(0.010)
        if number % 10 == 0:
            await asyncio.sleep(5)
            return Answer(code="HTTP 503", phases={"search": 9})
        if number % 10 == 1:
            raise ConnectionResetError
        return Answer(phases={"search": 0.002})

    run = jump(open_loop(call, rate=100, seconds=10, warmup=0))
    assert run.codes == {"OK": 800, "HTTP 503": 100, "ConnectionResetError": 100}
    assert run.ok_share == 0.8 and run.percentile(100) == pytest.approx(10, rel=0.01)
    assert run.mean_phases() == pytest.approx({"search": 2})


def test_without_any_answer_there_is_no_latency() -> None:
    async def call(number: int) -> Answer:
        await asyncio.sleep(0.001)
        return Answer(code="UNAVAILABLE")

    run = jump(open_loop(call, rate=10, seconds=5))
    assert math.isnan(run.percentile(99)) and run.throughput == run.goodput == 0
    assert json.loads(json.dumps(run.to_json(), allow_nan=False))["latency_ms"]["p99"] is None


def test_percentiles_are_those_of_a_schedule_made_by_hand() -> None:
    async def call(number: int) -> Answer:
        await asyncio.sleep((number % 1000 + 1) / 1000)
        return Answer()

    run = jump(open_loop(call, rate=100, seconds=10, warmup=0))
    for percent in (50, 90, 95, 99, 99.9):
        assert run.percentile(percent) == pytest.approx(percent * 10, rel=FEW_DIGITS)
    assert run.mean() == pytest.approx(500.5, rel=FEW_DIGITS)
    told = run.to_json()
    again = HdrHistogram.decode(str(told["histogram"]))
    assert again.get_value_at_percentile(99) / 1000 == run.percentile(99)
    assert told["latency_ms"]["p99.9"] == run.percentile(99.9)  # type: ignore[index]


def test_arrivals_are_poisson_and_as_many_as_the_rate_says() -> None:
    moments = arrivals(200, seconds=50, warmup=5, seed=3)
    assert moments == sorted(moments) == arrivals(200, seconds=50, warmup=5, seed=3)
    assert moments != arrivals(200, seconds=50, warmup=5, seed=4)
    assert len(moments) == 11_000 and sum(moment >= 5 for moment in moments) == 10_000
    gaps = [after - before for before, after in pairwise(moments)]
    # Exponential gaps: the deviation is the mean, and 1/e of them are longer than it.
    assert statistics.pstdev(gaps) == pytest.approx(statistics.mean(gaps), rel=0.03)
    assert sum(gap > 1 / 200 for gap in gaps) / len(gaps) == pytest.approx(1 / math.e, abs=0.02)


@pytest.mark.parametrize(
    ("start", "sentence"),
    [
        (lambda: closed_loop(steady, callers=0, seconds=1), "0 callers make no load"),
        (lambda: closed_loop(steady, callers=1, seconds=0), "a run of 0 s after 2 s of warm-up measures nothing"),
        (lambda: open_loop(steady, rate=0, seconds=1), "the rate must be more than 0"),
        (lambda: open_loop(steady, rate=math.inf, seconds=1), "the rate must be more than 0"),
        (lambda: open_loop(steady, rate=1, seconds=1, most_in_flight=0), "at least one request must be allowed"),
    ],
)
def test_what_makes_no_load_is_refused(start: Callable[[], Coroutine[None, None, Run]], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        jump(start())


def test_the_punctual_loop_waits_less_than_a_millisecond_too_long() -> None:
    async def lateness() -> float:
        late = []
        for _ in range(200):
            due = now() + 0.0003
            await asyncio.sleep(0.0003)
            late.append(now() - due)
        # The machine may be busy; a loop of whole milliseconds is never on time.
        return sorted(late)[20]

    with asyncio.Runner(loop_factory=event_loop) as runner:
        assert runner.run(lateness()) < 0.0006


# The highest rate


def queue_of(*, per_second: float) -> Callable[[float], Run]:
    """Runs of a server with one worker and exponential times: M/M/1."""

    def make_run(rate: float) -> Run:
        draw = random.Random(round(rate * 1000))

        async def load() -> Run:
            worker = asyncio.Lock()

            async def call(number: int) -> Answer:
                async with worker:
                    await asyncio.sleep(draw.expovariate(per_second))
                return Answer()

            return await open_loop(call, rate=rate, seconds=150, warmup=5, seed=round(rate))

        return jump(load())

    return make_run


async def test_a_sweep_finds_the_rate_that_queueing_theory_says() -> None:
    """Sojourn in M/M/1 is exponential with capacity - rate: p99 = ln(100) / (100 - rate), which is 100 ms at 53.9."""
    make_run = queue_of(per_second=100)

    async def elsewhere(rate: float) -> Run:
        return await asyncio.to_thread(make_run, rate)

    found = await sweep(elsewhere, bound_ms=100, low=5, high=1000)
    assert found.highest is not None and found.highest.rate == pytest.approx(100 - math.log(100) / 0.1, rel=0.1)
    assert not found.open_ended
    rates = [run.rate for run in found.points]
    assert rates[:5] == [5, 10, 20, 40, 80] and len(rates) <= 11
    above = [run for run in found.points if run.rate and run.rate > (found.highest.rate or 0)]
    assert above and all(run.percentile(99) > 100 for run in above)
    assert found.to_json()["highest_rate"] == found.highest.rate


def answering(latency: Callable[[float], float], *, code: Callable[[float], str] = lambda rate: "OK") -> MakeRun:
    async def make_run(rate: float) -> Run:
        async def call(number: int) -> Answer:
            await asyncio.sleep(latency(rate))
            return Answer(code=code(rate))

        return await asyncio.to_thread(lambda: jump(open_loop(call, rate=rate, seconds=2, warmup=0)))

    return make_run


async def test_a_sweep_that_finds_nothing_or_no_end_says_so() -> None:
    slow = await sweep(answering(lambda rate: 1), bound_ms=100, low=10, high=50)
    assert slow.highest is None and len(slow.points) == 1 and slow.to_json()["highest_rate"] is None
    fast = await sweep(answering(lambda rate: 0.01), bound_ms=100, low=10, high=50)
    assert fast.open_ended and fast.highest is not None and fast.highest.rate == 50
    with pytest.raises(ValueError, match="0 < low <= high"):
        await sweep(answering(lambda rate: 1), bound_ms=100, low=60, high=50)


async def test_fast_refusals_are_no_success() -> None:
    refusing = answering(lambda rate: 0.01, code=lambda rate: "OK" if rate <= 30 else "RESOURCE_EXHAUSTED")
    found = await sweep(refusing, bound_ms=100, low=10, high=1000)
    assert found.highest is not None and 28 < (found.highest.rate or 0) <= 30


async def test_a_second_try_forgives_a_chance_stall() -> None:
    tried: list[float] = []

    def latency(rate: float) -> float:
        return 1 if (tried.count(rate) == 1 and rate == 20) or rate > 60 else 0.01

    make_run = answering(latency)

    async def counted(rate: float) -> Run:
        tried.append(rate)
        return await make_run(rate)

    found = await sweep(counted, bound_ms=100, low=10, high=1000, tries=2)
    assert found.highest is not None and 57 < (found.highest.rate or 0) <= 60
    assert tried.count(20) == 2


# What makes figures doubtful


async def test_a_busy_generator_is_named() -> None:
    run = await asyncio.to_thread(lambda: jump(open_loop(steady, rate=1000, seconds=2)))
    assert Measured(run, cpu=0.5).doubts() == []
    [busy] = Measured(run, cpu=0.93).doubts()
    assert busy.startswith("this command itself used 93% of a core")


async def test_few_answers_are_no_firm_percentile() -> None:
    run = await asyncio.to_thread(lambda: jump(open_loop(steady, rate=10, seconds=2)))
    [few] = Measured(run, cpu=0.5).doubts()
    assert "p99 rests on the slowest few" in few


async def test_the_generators_own_work_is_measured() -> None:
    async def call(number: int) -> Answer:
        sum(range(200_000))
        return Answer()

    found = await measure(lambda: open_loop(call, rate=100, seconds=0.5, warmup=0))
    assert found.cpu > 0.05
    assert found.to_json()["generator_cpu"] == found.cpu
