"""The tables of `lookalike bench`."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.text import Text

from lookalike.bench.load import PERCENTILES, Run
from lookalike.bench.measuring import Measured
from lookalike.bench.sweep import Sweep
from lookalike.bench.waterfall import shown_of, waterfall
from lookalike.cli.display import Display, new_table
from lookalike.formatting import counted, one_line

__all__ = ["BenchDisplay"]


class BenchDisplay(Display):
    """Prints measurements for people: errors first, then the latencies, where the time went, and what is doubtful."""

    def beginning(self, what: str) -> None:
        """Say on standard error which run begins."""
        self.errors.print(Text(f"measuring {what}", style="dim"), soft_wrap=True)

    def report(self, measurements: Sequence[Measured], found: Sweep | None) -> None:
        """All that was measured."""
        runs = [each.run for each in measurements]
        for run in runs:
            self._failures(run)
        self._latencies(runs)
        shown = shown_of(measurements, found)
        self._time(shown)
        if found:
            self.line("")
            self._emphasize(_found(found), style="bold green" if found.highest else "bold red")
        for doubt in dict.fromkeys(doubt for each in measurements for doubt in each.doubts()):
            self.line(f"note: {doubt}")

    def _failures(self, run: Run) -> None:
        failed = run.requests - run.codes["OK"]
        if failed:
            codes = ", ".join(
                f"{number:,} {one_line(code)}" for code, number in run.codes.most_common() if code != "OK"
            )
            share = failed / run.requests
            self._emphasize(
                f"ERRORS: {failed:,} of {counted(run.requests, 'request')} ({share:.1%}) at {_load(run)}: {codes}",
                style="bold red",
            )

    def _latencies(self, runs: Sequence[Run]) -> None:
        percentiles = [f"p{percent:g} ms" for percent in PERCENTILES]
        in_time = [f"in {runs[0].in_time * 1000:g} ms /s"] if runs[0].in_time else []
        columns = ["requests", "OK", "answers/s", *in_time, *percentiles, "max ms", "garments/photo"]
        table = new_table("load", *columns, right=columns)
        for run in runs:
            answers = run.codes["OK"]
            table.add_row(
                _load(run),
                f"{run.requests:,}",
                Text(f"{answers:,}", style="" if answers == run.requests else "bold red"),
                f"{run.throughput:.1f}",
                *([f"{run.goodput:.1f}"] if in_time else []),
                *(_figure(run.percentile(percent)) for percent in (*PERCENTILES, 100.0)),
                f"{run.garments / answers:.1f}" if answers else "-",
            )
        self.table(table)

    def _time(self, shown: Measured) -> None:
        bars = waterfall(shown)
        if not bars:
            return
        whole = sum(bar.length for bar in bars if not bar.stage)
        self.line("")
        table = new_table(f"mean at {_load(shown.run)}", "ms", "share", "waiting ms", "", right=("ms", "share"))
        for bar in bars:
            style = "dim" if bar.stage else ""
            table.add_row(
                Text(f"  {bar.name}" if bar.stage else bar.name, style=style),
                Text(f"{bar.length:.1f}", style=style),
                Text(f"{bar.length / whole:.0%}", style=style),
                Text(f"{bar.waiting:.1f}" if bar.stage else "", style=style),
                Text(bar.meaning, style="dim"),
            )
        self.table(table)
        self.line(f"this command itself used {shown.cpu:.1%} of a core")

    def _emphasize(self, text: str, *, style: str) -> None:
        self._console.print(Text(text, style=style), soft_wrap=True)


def _found(found: Sweep) -> str:
    bound = f"p{found.percentile:g} within {found.bound_ms:g} ms"
    if found.highest is None:
        return f"no rate that was tried keeps {bound}: begin with a lower one (--lowest), or allow more time"
    rate = f"{found.highest.rate:.4g} requests/s"
    if found.open_ended:
        return f"{bound} holds up to {rate}, the highest that was allowed (--highest)"
    return f"{bound} holds up to {rate} (p{found.percentile:g} {found.highest.percentile(found.percentile):.4g} ms)"


def _load(run: Run) -> str:
    return f"{run.rate:.4g}/s" if run.rate else counted(run.callers or 0, "caller")


def _figure(milliseconds: float) -> str:
    return "-" if math.isnan(milliseconds) else f"{milliseconds:,.1f}"
