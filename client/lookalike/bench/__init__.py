"""Measures what a server can do: load, percentiles, where the time goes. Needs pip install 'lookalike[bench]'."""

from __future__ import annotations

from lookalike.bench.load import Answer, Call, Run, closed_loop, event_loop, open_loop
from lookalike.bench.sweep import Sweep, sweep

__all__ = ["Answer", "Call", "Run", "Sweep", "closed_loop", "event_loop", "open_loop", "sweep"]
