"""`make fuzz`: coverage-guided fuzzing of what strangers' bytes reach, each target in a process of its own."""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fuzz.corpus import write_corpus

TARGETS = ("decode", "filter", "tokens", "requests")
FOLDER = Path("build/fuzz")
# An input that takes longer than this, or more memory, is a finding like an exception.
SECONDS, MEBIBYTES = 20, 3072


def main() -> int:
    """Run the targets, as many at once as there are cores, and say how many inputs each has tried; 1 when any broke."""
    options = _parser().parse_args()
    broken = []
    targets = options.target or TARGETS
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        done = pool.map(lambda target: _run(target, seconds=options.seconds, runs=options.runs), targets)
    for target, (tried, fine, seconds) in zip(targets, done, strict=True):
        print(f"{target}: {tried:,} inputs in {seconds:.0f} s, {'no findings' if fine else 'BROKEN'}", flush=True)
        _remember(target, tried=tried, seconds=seconds)
        if not fine:
            broken.append(target)
    if broken:
        print(f"what broke {', '.join(broken)} lies in {FOLDER}/<target>/; keep it as a test", file=sys.stderr)
    return 1 if broken else 0


def _run(target: str, *, seconds: int, runs: int) -> tuple[int, bool, float]:
    """How many inputs were tried, whether all of them were handled, and how long it took."""
    found = FOLDER / target
    corpus = write_corpus(target, found / "corpus")
    command = [sys.executable, "-m", f"fuzz.{target}", str(corpus), f"-artifact_prefix={found}/", "-max_len=8192"]
    command += [f"-timeout={SECONDS}", f"-rss_limit_mb={MEBIBYTES}", f"-max_total_time={seconds}"]
    command += [f"-runs={runs}"] if runs else []
    begin = time.monotonic()
    log = found / "log.txt"
    with log.open("w") as file:
        status = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT).returncode
    counts = re.findall(r"^#(\d+)", log.read_text(errors="replace"), re.MULTILINE)
    tried = max(map(int, counts), default=0)
    return tried, status == 0, time.monotonic() - begin


def _remember(target: str, *, tried: int, seconds: float) -> None:
    """Add to what earlier runs have tried, in build/fuzz.json."""
    path = FOLDER.with_suffix(".json")
    counts = json.loads(path.read_text()) if path.exists() else {}
    before = counts.get(target, {"inputs": 0, "seconds": 0})
    counts[target] = {"inputs": before["inputs"] + tried, "seconds": round(before["seconds"] + seconds)}
    path.write_text(json.dumps(counts, indent=2) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("target", nargs="*", choices=[*TARGETS, []], help="which; all without any")
    parser.add_argument("--seconds", type=int, default=120, help="for each target (default: 120)")
    parser.add_argument("--runs", type=int, default=0, help="the most inputs for each target; 0 is no bound")
    return parser


if __name__ == "__main__":
    sys.exit(main())
