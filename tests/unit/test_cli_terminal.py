"""What a person sees: colors on a terminal and none elsewhere, word of a server that is waited for, completion."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from google.protobuf.message import Message

import lookalike
from lookalike.cli import main
from lookalike.cli.arguments import build_parser
from lookalike.cli.completion import SHELLS, completion_script
from lookalike.v1.product_service_pb2 import ListProductsResponse
from support_client import Script, failure, serving

PRODUCT = lookalike.build_product("catalogs/default/products/sku-1", title="Linen dress", price=(4990, "EUR"))
HITS = [lookalike.Hit(product=PRODUCT, score=score) for score in (0.87, 0.65, 0.1)]
SEARCHED = lookalike.ListSimilarProductsResponse(hits=HITS)
GREEN, YELLOW, CYAN, BOLD, ANY = "\x1b[32m", "\x1b[33m", "\x1b[36m", "\x1b[1m", "\x1b["


def answered(method: str, *answers: Message) -> Script:
    script = Script()
    script.gate.set()
    script.say(method, *answers)
    return script


def environment(**changes: str) -> dict[str, str]:
    """This one without what decides on colors, and with an 80 columns wide terminal."""
    kept = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE")}
    path = str(Path(lookalike.__file__).parents[1])
    return {**kept, "PYTHONPATH": path, "TERM": "xterm-256color", "COLUMNS": "80", **changes}


def on_a_terminal(script: Script, *arguments: str, **changes: str) -> str:
    """What the command writes to a terminal."""

    def run(address: str) -> str:
        ours, theirs = pty.openpty()
        command = [sys.executable, "-m", "lookalike", "--server", address, *arguments]
        with subprocess.Popen(
            command, stdout=theirs, stderr=theirs, stdin=theirs, env=environment(**changes)
        ) as process:
            os.close(theirs)
            written = b""
            try:
                while some := os.read(ours, 65536):
                    written += some
            except OSError:
                # How Linux says that the other end is closed.
                pass
            os.close(ours)
            assert process.wait(60) == 0, written
        return written.decode().replace("\r\n", "\n")

    async def serve() -> str:
        async with serving(script) as address:
            return await asyncio.to_thread(run, address)

    return asyncio.run(serve())


def test_a_terminal_gets_colors() -> None:
    seen = on_a_terminal(answered("ListSimilarProducts", SEARCHED), "similar", "sku-2")
    assert f"{GREEN}0.870" in seen and f"{YELLOW}0.650" in seen
    assert f"{CYAN}sku-1" in seen and f"{BOLD}Linen dress" in seen


def test_no_color_is_honored() -> None:
    seen = on_a_terminal(answered("ListSimilarProducts", SEARCHED), "similar", "sku-2", NO_COLOR="1")
    assert "0.870" in seen and not re.search(r"\x1b\[[0-9;]*3[0-9]", seen)


def test_what_is_piped_is_plain_and_not_cut(capsys: pytest.CaptureFixture[str]) -> None:
    title = "A dress " * 20
    wide = lookalike.Hit(product=lookalike.build_product("catalogs/default/products/sku-1", title=title), score=0.9)
    script = answered("ListSimilarProducts", lookalike.ListSimilarProductsResponse(hits=[wide]))

    async def serve() -> int:
        async with serving(script) as address:
            return await asyncio.to_thread(main, ["--server", address, "similar", "sku-2"])

    assert asyncio.run(serve()) == 0
    heading, row = capsys.readouterr().out.splitlines()
    assert ANY not in row and title.strip() in row and heading.split()[:3] == ["score", "id", "title"]


def test_a_server_that_is_waited_for_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    away = failure(grpc.StatusCode.UNAVAILABLE, "the models are away", reason="MODEL_UNAVAILABLE", retry_after=0.001)
    script = answered("ListProducts", *[away] * 4, ListProductsResponse())

    async def serve() -> int:
        async with serving(script) as address:
            return await asyncio.to_thread(main, ["--server", address, "products", "list"])

    assert asyncio.run(serve()) == 0
    said = "lookalike: the models are away; trying again for up to 30 s (Ctrl-C ends it)\n"
    assert capsys.readouterr().err == said


def test_a_filter_that_does_not_parse_is_shown_with_the_place(capsys: pytest.CaptureFixture[str]) -> None:
    malformed = failure(
        grpc.StatusCode.INVALID_ARGUMENT,
        "unknown field 'colour'",
        reason="FILTER_MALFORMED",
        field="filter",
        metadata={"position": "14"},
    )
    script = answered("ListProducts", malformed)

    async def serve() -> int:
        async with serving(script) as address:
            arguments = ["--server", address, "products", "list", "--filter", "price < 9 AND colour = 1"]
            return await asyncio.to_thread(main, arguments)

    assert asyncio.run(serve()) == 3
    assert capsys.readouterr().err == (
        "lookalike: FILTER_MALFORMED: unknown field 'colour' (field filter)\n"
        "  price < 9 AND colour = 1\n"
        "                ^\n"
    )


def completed(script: str, line: str, *, folder: Path) -> set[str]:
    """What bash offers when TAB is pressed at the end of a line."""
    words = line.split(" ")
    source = (
        f"source {script}\nCOMP_WORDS=({' '.join(map(repr, words))})\nCOMP_CWORD={len(words) - 1}\n"
        'compopt() { :; }\n_shtab_lookalike\nprintf "%s\\n" "${COMPREPLY[@]}"'
    )
    ended = subprocess.run(["bash", "-c", source], capture_output=True, text=True, timeout=60, check=True, cwd=folder)
    return set(ended.stdout.split())


def test_bash_completes_commands_options_values_and_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"]) == 0
    script = tmp_path / "lookalike.bash"
    script.write_text(capsys.readouterr().out)
    (tmp_path / "street.jpg").touch()

    def at(line: str) -> set[str]:
        return completed(str(script), line, folder=tmp_path)

    assert at("lookalike se") == {"search"}
    assert at("lookalike products ") == {"get", "list", "create", "update", "delete"}
    assert {"--filter", "--server", "--json"} <= at("lookalike search --")
    assert at("lookalike search street.jpg --category-mode ") == {"off", "prefer", "strict"}
    assert at("lookalike search str") == {"street.jpg"}
    assert at("lookalike verif") == {"verify"}


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_gets_a_script(shell: str) -> None:
    script = completion_script(build_parser(), shell=shell)
    assert "also-viewed" in script and "color-weight" in script
    assert shell == "bash" or "find products that look like the garments of a photo" in script
