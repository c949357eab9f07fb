"""The table of faults, and the figures of build/chaos.json."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from chaos.faults import Outcome

__all__ = ["BROKEN", "MILVUS", "ROLLING", "SWAP", "figures", "read", "shown"]

MILVUS: Final = "kill -9 of a real Milvus"
SWAP: Final = "hot swap of detect"
BROKEN: Final = "hot swap of detect, broken"
ROLLING: Final = "rolling restart of two gateways"
KILL: Final = "kill -9"


def read(path: Path) -> list[Outcome]:
    """What runs until now have found."""
    return [Outcome(**json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []


def figures(outcomes: Iterable[Outcome]) -> dict[str, Any]:
    """One row per fault, and the sums that are promised."""
    by_fault: defaultdict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        by_fault[outcome.fault].append(outcome)
    rows = [
        {
            "fault": fault,
            "times": len(each),
            "in_flight": sum(one.in_flight for one in each),
            "failed": sum(one.failed for one in each),
            "wrong": sum(one.wrong for one in each),
            "recovery_median_s": round(statistics.median(one.recovery_s for one in each), 1),
            "recovery_max_s": round(max(one.recovery_s for one in each), 1),
            "lost_writes": sum(one.lost for one in each),
            "surplus_rows": sum(one.surplus for one in each),
        }
        for fault, each in sorted(by_fault.items())
    ]
    kills = [one for fault, each in by_fault.items() if fault.startswith(KILL) for one in each]
    ours = [one.recovery_s for one in kills if one.fault != MILVUS]
    real = [one.recovery_s for one in by_fault.get(MILVUS, [])]
    return {
        "kills": len(kills),
        "wrong_answers": sum(row["wrong"] for row in rows),
        "lost_writes": sum(row["lost_writes"] for row in rows),
        "surplus_rows": sum(row["surplus_rows"] for row in rows),
        "slowest_recovery_s": max(ours, default=None),
        "milvus_kills": len(real),
        "milvus_recovery_s": max(real, default=None),
        "failed_during_hot_swap": sum(one.failed for name in (SWAP, BROKEN) for one in by_fault.get(name, [])),
        "failed_during_rolling_restart": sum(one.failed for one in by_fault.get(ROLLING, [])),
        "hot_swaps": len(by_fault.get(SWAP, [])),
        "rolling_restarts": len(by_fault.get(ROLLING, [])),
        "table": rows,
    }


def shown(found: dict[str, Any]) -> str:
    """The table as Markdown."""
    head = "| fault | times | in flight | failed | wrong | recovery, median | slowest | lost writes | surplus rows |"
    lines = [head, "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"]
    for row in found["table"]:
        lines.append(
            f"| {row['fault']} | {row['times']} | {row['in_flight']} | {row['failed']} | {row['wrong']} | "
            f"{row['recovery_median_s']} s | {row['recovery_max_s']} s | {row['lost_writes']} | "
            f"{row['surplus_rows']} |"
        )
    return "\n".join(lines)
