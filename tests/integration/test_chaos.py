"""Short versions of `make chaos`: each process dies once under load, gateways are renewed, detect is swapped."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.faults import Outcome
from chaos.runs import kill_embedded, kill_milvus, restart_gateways, swap_detect
from chaos.table import BROKEN, SWAP, figures, shown

# Machines of tests are busy; `make chaos` measures how long it takes on one that is not.
PATIENCE = 60.0


def checked(outcomes: list[Outcome], *, failures: bool = False) -> None:
    for outcome in outcomes:
        assert outcome.wrong == 0, outcome
        assert outcome.lost == 0, outcome
        assert failures or outcome.failed == 0, outcome
        assert outcome.recovery_s < PATIENCE, outcome


async def test_what_dies_comes_back_and_nothing_is_wrong_or_lost(tmp_path: Path) -> None:
    outcomes: list[Outcome] = []
    targets = ("stub", "triton", "gateway", "milvus")
    await kill_embedded(tmp_path / "stack", kills=4, seed=1, report=outcomes.append, targets=targets)
    assert len({outcome.fault for outcome in outcomes}) == 4
    assert sum(outcome.recovery_s > 0 for outcome in outcomes) >= 3
    # On a busy machine an outage may outlast the callers' patience.
    checked(outcomes, failures=True)
    found = figures(outcomes)
    assert (found["kills"], found["wrong_answers"], found["lost_writes"]) == (4, 0, 0)
    assert "kill -9 of a Triton stub | 1 |" in shown(found)


async def test_two_gateways_are_renewed_without_a_failure(tmp_path: Path) -> None:
    outcomes: list[Outcome] = []
    await restart_gateways(tmp_path / "stack", times=1, report=outcomes.append)
    checked(outcomes)


async def test_detect_is_swapped_without_a_failure_and_a_broken_one_refused(tmp_path: Path) -> None:
    outcomes: list[Outcome] = []
    await swap_detect(tmp_path / "stack", times=2, report=outcomes.append)
    assert [outcome.fault for outcome in outcomes] == [SWAP, BROKEN]
    checked(outcomes)


@pytest.mark.long
async def test_a_real_milvus_dies_and_searches_come_back(tmp_path: Path) -> None:
    outcomes: list[Outcome] = []
    await kill_milvus(tmp_path / "production", kills=1, seed=1, report=outcomes.append)
    assert outcomes[0].recovery_s < 90
    checked(outcomes, failures=True)
