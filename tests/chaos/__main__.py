"""`python -m chaos`: break everything under load, count what was wrong or lost, write build/chaos.json.

Runs add up in build/chaos/outcomes.jsonl until --fresh, so a long run can be made in parts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import time
from pathlib import Path

from chaos.faults import Outcome
from chaos.runs import TARGETS, kill_embedded, kill_milvus, restart_gateways, swap_detect
from chaos.table import figures, read, shown

BUILD = Path("build")


def main() -> int:
    """Run what is asked for; 0 when nothing was wrong and nothing lost."""
    options = _options()
    folder = (BUILD / "chaos").resolve()
    outcomes = folder / "outcomes.jsonl"
    if options.fresh:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        asyncio.run(_run(options, folder / f"run-{time.strftime('%H%M%S')}", outcomes))
    finally:
        found = figures(read(outcomes))
        (BUILD / "chaos.json").write_text(json.dumps(found, indent=2) + "\n")
        print(shown(found))
        print({name: value for name, value in found.items() if name != "table"})
    return int(bool(found["wrong_answers"] or found["lost_writes"]))


async def _run(options: argparse.Namespace, folder: Path, outcomes: Path) -> None:
    def report(outcome: Outcome) -> None:
        outcome.append_to(outcomes)
        said = f"{outcome.fault}: {outcome.recovery_s} s, {outcome.failed} failed, {outcome.wrong} wrong, "
        print(
            f"chaos: {said}{outcome.lost} lost, {outcome.surplus} surplus {outcome.examples}",
            file=sys.stderr,
            flush=True,
        )

    if options.kills:
        await kill_embedded(
            folder / "embedded", kills=options.kills, seed=options.seed, report=report, targets=options.targets
        )
    if options.swaps:
        await swap_detect(folder / "swap", times=options.swaps, report=report)
    if options.restarts:
        await restart_gateways(folder / "restart", times=options.restarts, report=report)
    if options.milvus_kills:
        await kill_milvus(folder / "production", kills=options.milvus_kills, seed=options.seed, report=report)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=190, help="kills of the embedded stack's processes (190)")
    parser.add_argument("--milvus-kills", type=int, default=22, help="kills of a real Milvus 2.3.5 (22)")
    parser.add_argument("--swaps", type=int, default=6, help="hot swaps of detect, every second one broken (6)")
    parser.add_argument("--restarts", type=int, default=5, help="rolling restarts of two gateways (5)")
    parser.add_argument("--targets", nargs="+", choices=sorted(TARGETS), default=tuple(TARGETS), help="what is killed")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the moments and the victims")
    parser.add_argument("--fresh", action="store_true", help="forget what earlier runs have found")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
