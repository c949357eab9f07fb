"""The benchmark's own arithmetic: turns, ratios, targets, table, JSON, orders of photos, refusals, made catalogs."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from bench.calls import Watched
from bench.document import BEGIN, END, documented, pipeline
from bench.figures import TARGETS, Figure, Target, missed, table
from bench.filling import Seen, made_products
from bench.overload import refusals
from bench.photos import load_photos, resized
from bench.plan import balanced, loaded
from bench.plots import Curve, draw
from bench.processes import Family, watching
from bench.ratios import Reading, best, difference, in_turns, ratio
from lookalike.bench.load import Answer, Call

SPIN = "import sys, time\nwhile time.process_time() < 0.3: pass\nprint('spun', flush=True)\nsys.stdin.read()"


def test_a_reading_is_the_median_between_the_extremes() -> None:
    assert Reading((3.0, 1.0, 2.0)).value == 2.0
    assert Reading((3.0, 1.0, 2.0)).spread == (1.0, 3.0)
    assert Reading((4.0, 1.0)).value == 2.5


async def test_everybody_has_a_turn_in_every_round_and_begins_in_turns() -> None:
    order: list[str] = []

    def contender(name: str) -> Callable[[], Awaitable[int]]:
        async def run() -> int:
            order.append(name)
            return len(order)

        return run

    found = await in_turns({name: contender(name) for name in "abc"}, rounds=3)
    assert "".join(order) == "abcbcacab"
    assert found == {"a": [1, 6, 8], "b": [2, 4, 9], "c": [3, 5, 7]}


def test_a_machine_that_slows_down_leaves_the_ratio_alone() -> None:
    ours, theirs = [9.0, 4.5, 3.0], [10.0, 5.0, 10 / 3]
    assert ratio(ours, theirs).rounds == pytest.approx((0.9, 0.9, 0.9))
    assert difference([5.0, 7.0], [4.0, 5.0]).rounds == (1.0, 2.0)
    assert best({"steady": [5, 5, 5], "lucky once": [4, 4, 9]}) == "steady"


def test_a_contender_that_finished_nothing_is_no_divisor() -> None:
    with pytest.raises(ValueError, match="give the rounds more seconds"):
        ratio([1.0, 1.0], [1.0, 0.0])


@pytest.mark.parametrize(
    ("target", "good", "bad", "words"),
    [
        (Target("", at_least=0.95), 0.95, 0.949, ">= 0.95"),
        (Target("", at_most=3), 3.0, 3.01, "<= 3"),
    ],
)
def test_a_target_holds_at_its_bound(target: Target, good: float, bad: float, words: str) -> None:
    assert target.met(good) is True
    assert target.met(bad) is False
    assert target.met(math.nan) is False
    assert target.words() == words


def test_what_has_no_target_is_neither_met_nor_missed() -> None:
    assert Target("").met(1.0) is None
    assert Target("").words() == "reported"
    figures = {"cpu_ms_per_search": Figure("cpu_ms_per_search", Reading((100.0,)))}
    assert missed(figures) == []
    assert figures["cpu_ms_per_search"].to_json()["met"] is None


def test_the_table_says_what_was_missed_in_the_order_of_the_targets() -> None:
    figures = {
        "rss_mb": Figure("rss_mb", Reading((2600.0, 2700.0))),
        "gateway_efficiency": Figure("gateway_efficiency", Reading((0.97, 0.98, 0.99))),
    }
    lines = table(figures).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["`gateway_efficiency`", "`rss_mb`"]
    assert [cell.strip() for cell in lines[2].split("|")[2:6]] == ["0.980", "0.970 - 0.990", ">= 0.96", "yes"]
    assert [cell.strip() for cell in lines[3].split("|")[2:6]] == ["2650.0", "2600.0 - 2700.0", "<= 2500", "NO"]
    assert missed(figures) == ["rss_mb"]


def test_json_holds_every_part_and_null_for_what_is_no_number() -> None:
    details = {"p99_ms": [1.23456789, math.nan], "cpu": Reading((1.0, 2.0)), "codes": {"OK": 3}}
    content = json.loads(json.dumps(Figure("gateway_added_p50_ms", Reading((2.0, 4.0)), details).to_json()))
    assert content == {
        "value": 3.0,
        "spread": [2.0, 4.0],
        "rounds": [2.0, 4.0],
        "wanted": "<= 3",
        "met": True,
        "meaning": TARGETS["gateway_added_p50_ms"].meaning,
        "details": {"p99_ms": [1.23457, None], "cpu": {"value": 1.5, "rounds": [1.0, 2.0]}, "codes": {"OK": 3}},
    }


def test_the_page_gets_the_table_and_keeps_everything_else() -> None:
    run = {
        "machine": {"cores": 2, "processor": "P", "kernel": "6.1", "load_average": [0.51, 0, 0]},
        "photos": {"shown": 32, "source": "street", "garments_per_photo": 5.25},
        "revision": "abc",
        "seconds": 10.0,
    }
    content = {
        key: {**Figure(key, Reading((1.0, 3.0))).to_json(), "run": run} for key in ("rss_mb", "ensemble_efficiency")
    }
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    written = documented(page, pipeline(content))
    assert written.startswith(f"before\n{BEGIN}\n\n| figure")
    assert written.endswith(f"{END}\nafter\n")
    assert "old" not in written
    assert written.index("`ensemble_efficiency`") < written.index("`rss_mb`")
    assert written.count("2 cores of P, Linux 6.1, commit abc; 32 photos of street with 5.2 garments each") == 1
    assert documented(written, pipeline(content)) == written
    apart = documented(page, pipeline({**content, "rss_mb": {**content["rss_mb"], "run": {**run, "revision": "def"}}}))
    assert "- `rss_mb`: 2 cores of P, Linux 6.1, commit def" in apart
    with pytest.raises(ValueError, match="the page lacks the lines"):
        documented("a page", pipeline(content))


def test_every_figure_of_the_command_has_a_target_and_the_other_way_round() -> None:
    from bench.command import SECTIONS

    assert sorted(key for keys in SECTIONS.values() for key in keys) == sorted(TARGETS)


class Counting:
    """An ensemble that finds as many garments as the photo has bytes."""

    def call(self, photos: tuple[bytes, ...]) -> Call:
        async def call(number: int) -> Answer:
            return Answer(garments=len(photos[number]))

        return call


async def test_every_stretch_of_the_photos_has_about_the_mean_number_of_garments() -> None:
    photos = tuple(b"x" * (1 + number // 4) for number in range(32))
    shown, mean = await balanced(Counting(), photos)  # type: ignore[arg-type]
    assert sorted(shown) == sorted(photos)
    assert mean == 4.5
    twice = [len(photo) for photo in shown] * 2
    means = [sum(twice[begin : begin + 8]) / 8 for begin in range(32)]
    assert max(abs(each - mean) for each in means) < 0.6


async def test_load_counts_processor_time_per_answer_with_the_warm_up() -> None:
    async def call(number: int) -> Answer:
        sum(range(20_000))
        return Answer() if number % 2 else Answer(code="UNAVAILABLE")

    load = await loaded(call, callers=1, seconds=0.2, warmup=0.1)
    assert set(load.cpu_ms) == {"client"}
    # Two calls of which each computes for some tenths of a millisecond: one counts, both cost.
    assert 0.1 < load.cpu_ms["client"] < 20


async def test_refusals_are_told_apart_by_code() -> None:
    async def call(number: int) -> Answer:
        return Answer(code="RESOURCE_EXHAUSTED" if number else "OK")

    watched = Watched(call)
    for number in range(4):
        await watched(number)
    assert watched.answered == 1
    found = refusals([watched.seconds, {"DEADLINE_EXCEEDED": [2.0]}])
    assert found["RESOURCE_EXHAUSTED"]["count"] == 3
    assert found["DEADLINE_EXCEEDED"] == {"count": 1, "p50_ms": 2000.0, "p99_ms": 2000.0}
    assert "OK" not in found


def test_made_products_have_the_rows_and_lie_near_what_was_seen() -> None:
    axes = np.eye(8, 64, dtype=np.float32)
    near = [Seen(axis, f"category {number}", ("red",), "solid") for number, axis in enumerate(axes)]
    products = list(made_products(near, rows=101, catalog="shop"))
    views = [view for product in products for view in product.views]
    assert len(views) == 101
    assert len({view.id for view in views}) == 101
    assert {len(product.views) for product in products[:-1]} == {2, 3}
    for product in products:
        own = axes[int(product.category.split()[1])]
        for view in product.views:
            vector = view.embedding.astype(np.float32)
            assert np.linalg.norm(vector) == pytest.approx(1, abs=0.01)
            assert 0.6 < float(vector @ own) < 0.95
        cosines = [
            float(np.dot(*(view.embedding.astype(np.float32) for view in pair))) for pair in pairwise(product.views)
        ]
        assert all(0.8 < cosine < 0.97 for cosine in cosines)
    assert {product.indexed_revision for product in products} == {1}


def test_rendered_outfits_stand_in_for_photos_that_are_not_there(tmp_path: Path) -> None:
    photos = load_photos(tmp_path, shown=2, others=1)
    assert photos.source == "rendered outfits"
    assert (len(photos.shown), len(photos.others)) == (2, 1)
    assert len({*photos.shown, *photos.others}) == 3
    small = cv2.imdecode(np.frombuffer(resized(photos.shown[0], longest_side=240), np.uint8), cv2.IMREAD_COLOR)
    assert small.shape[:2] == (240, 160)


def test_street_photos_are_taken_evenly(tmp_path: Path) -> None:
    folder = tmp_path / "street" / "public_test" / "images"
    folder.mkdir(parents=True)
    for number in range(20):
        (folder / f"{number:04}.jpg").write_bytes(b"%d" % number)
    photos = load_photos(tmp_path, shown=3, others=2)
    assert photos.source == "street/public_test/images"
    assert (photos.shown, photos.others) == ((b"0", b"8", b"16"), (b"4", b"12"))


class Child:
    """A process that has computed for 0.3 s when it is entered, and then waits."""

    def __enter__(self) -> int:
        self._process = subprocess.Popen(
            [sys.executable, "-c", SPIN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "spun\n"
        return self._process.pid

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


def test_a_family_is_what_was_started_and_what_it_cost() -> None:
    with watching(Child()) as (pid, family):
        assert family.roots == (pid,)
        assert 0.25 < family.cpu_seconds() < 3
        assert 2 < sum(family.pss_mib().values()) < 100
        first = {min(os.sched_getaffinity(0))}
        family.confine(first)
        assert os.sched_getaffinity(pid) == first
    assert family.cpu_seconds() == 0
    assert Family(()).pss_mib() == {}


def test_a_plot_is_drawn_with_one_axis_or_two(tmp_path: Path) -> None:
    curves = [
        Curve("photos/s", {1.0: Reading((4.0, 5.0)), 2.0: Reading((8.0, 9.0))}),
        Curve("p50 ms", {1.0: Reading((4.0,)), 2.0: Reading((5.0,))}),
    ]
    for count in (1, 2):
        path = tmp_path / f"{count}.png"
        draw(curves[:count], path, axis="cores", logarithmic=count == 2)
        height, width = cv2.imread(str(path)).shape[:2]
        assert (width, height) == (768, 480)
    assert curves[0].to_json()["points"][0] == {"at": 1.0, "value": 4.5, "rounds": [4.0, 5.0]}
