"""What a server shows to Prometheus: every series' name with its labels and the words that they hold.

`python -m support_metrics SERVER [NAME ...] < METRICS` writes a list of tests/unit/data/metrics anew: of all series, or
of those that begin with these names.
"""

from __future__ import annotations

import json
import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import Final

__all__ = ["FOLDER", "Series", "shown"]

FOLDER: Final = Path(__file__).parent / "unit" / "data" / "metrics"
# Labels whose words rules and dashboard may name; those of the others differ from run to run.
FIXED: Final = frozenset({"function_name", "msg_type", "query_type", "reason", "status"})

Series = dict[str, dict[str, list[str]]]
"""Name of a series -> label -> its words, which are listed for FIXED labels only."""


def shown(text: str) -> Series:
    """The series of an answer in Prometheus' text format; a word that only some runs see is not listed."""
    # prometheus_client's parser would give counters the ending _total, which Triton's and Milvus' do not have.
    words: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for name, written in re.findall(r"^([a-zA-Z_:][\w:]*)(\{.*\})? ", text, re.MULTILINE):
        labels = words[name]
        for label, word in re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', written):
            labels[label] |= {word} if label in FIXED else set()
    return {
        name: {label: sorted(found) for label, found in sorted(labels.items())}
        for name, labels in sorted(words.items())
    }


if __name__ == "__main__":
    _, server, *names = sys.argv
    found = {name: labels for name, labels in shown(sys.stdin.read()).items() if name.startswith(tuple(names or [""]))}
    (FOLDER / f"{server}.json").write_text(json.dumps(found, indent=1) + "\n")
