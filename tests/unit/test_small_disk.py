"""A disk that is full or turns read-only gives errors that say so; nothing acknowledged is lost, nothing is corrupt."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import support_small_disk

NAMESPACE = ["unshare", "--map-root-user", "--mount"]


def may_mount() -> bool:
    try:
        return subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not may_mount(), reason="this machine lets nobody mount a disk of his own")
def test_a_full_and_a_read_only_disk_give_errors_and_lose_nothing(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [*NAMESPACE, sys.executable, support_small_disk.__file__, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["full"]["written"] >= 20
    assert any("disk is full" in sentence for sentence in found["full"]["failures"]), found
    assert found["room"]["failures"] == []
    assert found["room"]["written"] >= 200
    [database, images] = found["read-only"]["failures"]
    assert "is not there or not ours to write" in database
    assert "cannot be" in images
    assert found["after"]["written"] >= 50
    assert [found[part]["lost"] for part in ("full", "room", "after")] == [[]] * 3
    assert found["after"]["integrity"] == "ok"
