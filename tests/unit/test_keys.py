"""API keys: their file, their lives, and the command that makes them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lookalike_service.__main__ import main
from lookalike_service.callers import Right
from lookalike_service.errors import CredentialsInvalid, StartupError
from lookalike_service.keys import KeyRing, hashed, new_key, read_keys
from support_keys import KeyFile

NOW = datetime(2027, 1, 1, tzinfo=UTC)


class Calendar:
    """A date that tests turn."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


def ring(file: KeyFile, now: Calendar | None = None) -> KeyRing:
    return KeyRing(file.path, requests_per_second=7, photos_at_once=3, now=now or Calendar())


def test_a_key_says_what_it_opens(tmp_path: Path) -> None:
    file = KeyFile(tmp_path)
    key = file.add("web-1", catalogs='["summer", "winter"]', rights='["search"]', requests_per_second=50)
    caller = ring(file).caller(key)
    assert caller.name == "web-1"
    assert caller.rights == {Right.SEARCH}
    assert caller.reaches("winter")
    assert not caller.reaches("default")
    assert (caller.requests_per_second, caller.photos_at_once) == (50, 3)  # its own, and the server's


def test_a_star_opens_every_catalog(tmp_path: Path) -> None:
    file = KeyFile(tmp_path)
    assert ring(file).caller(file.add("all", catalogs='["*"]')).reaches("whatever")


@pytest.mark.parametrize("presented", ["", "nonsense", "lookalike_web_short", new_key("web"), new_key("nobody")])
def test_what_is_no_key_of_ours_is_refused(tmp_path: Path, presented: str) -> None:
    file = KeyFile(tmp_path)
    file.add("web")
    with pytest.raises(CredentialsInvalid, match="not one of this server's") as refused:
        ring(file).caller(presented)
    assert not presented or presented not in refused.value.message


def test_a_key_is_replaced_while_both_are_valid(tmp_path: Path) -> None:
    file, calendar = KeyFile(tmp_path), Calendar()
    old = file.add("web-2026", expires="2027-01-02T00:00:00Z")
    keys = ring(file, calendar)
    new = file.add("web-2027")
    assert [keys.caller(key).name for key in (old, new)] == ["web-2026", "web-2027"]
    calendar.now += timedelta(days=1)
    with pytest.raises(CredentialsInvalid, match="web-2026 expired on 2027-01-02"):
        keys.caller(old)
    assert keys.caller(new).name == "web-2027"


def test_a_key_that_is_taken_out_of_the_file_ends_at_once(tmp_path: Path) -> None:
    file = KeyFile(tmp_path)
    key = file.add("web")
    keys = ring(file)
    assert keys.caller(key).name == "web"
    file.path.write_text("")
    with pytest.raises(CredentialsInvalid):
        keys.caller(key)
    assert len(keys) == 0


@pytest.mark.parametrize("broken", ["[[keys]", '[[keys]]\nid = "half"', None])
def test_a_broken_change_leaves_the_keys_as_they_were(
    tmp_path: Path, broken: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    file = KeyFile(tmp_path)
    key = file.add("web")
    keys = ring(file)
    if broken is None:
        file.path.unlink()
    else:
        file.path.write_text(broken)
    for _ in range(3):
        assert keys.caller(key).name == "web"
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1
    assert "what was there before still holds" in caplog.text


ENTRY = f'[[keys]]\nid = "a"\nsha256 = "{hashed("a")}"\ncatalogs = ["a"]\nrights = ["search"]\n'


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("[[keys", "is not TOML"),
        (ENTRY * 2, "a comes twice"),
        (ENTRY + "colour = 1\n", "keys.0.colour: Extra inputs"),
        (ENTRY.replace("search", "destroy"), "keys.0.rights.0: Input should be 'search' or 'manage'"),
        (ENTRY.replace('["a"]', "[]"), "keys.0.catalogs"),
        (ENTRY.replace('["a"]', '["a b"]'), "keys.0.catalogs.0"),
        (ENTRY + "expires = 2027-01-01T00:00:00\n", "keys.0.expires: Input should have timezone"),
        (ENTRY + "requests_per_second = -1\n", "keys.0.requests_per_second"),
        (ENTRY.replace(hashed("a"), "a very secret key"), "keys.0.sha256"),
    ],
)
def test_what_a_file_may_not_say(tmp_path: Path, content: str, sentence: str) -> None:
    path = tmp_path / "keys.toml"
    path.write_text(content)
    with pytest.raises(StartupError) as refused:
        read_keys(path)
    assert sentence in str(refused.value)
    assert "a very secret key" not in str(refused.value)


def test_a_missing_file_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"cannot be read .*python -m lookalike_service key"):
        read_keys(tmp_path / "none.toml")


def test_the_command_makes_a_key_that_the_file_knows_by_its_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "keys.toml"
    monkeypatch.setenv("LOOKALIKE_KEYS_FILE", str(path))
    arguments = ["--catalog", "default", "--right", "search", "--requests-per-second", "20"]
    assert main(["key", "web", *arguments]) == 0
    first = capsys.readouterr().out.strip()
    assert main(["key", "batch", *arguments, "--right", "manage", "--days", "90"]) == 0
    second = capsys.readouterr().out.strip()
    assert first not in path.read_text()
    keys = KeyRing(path, requests_per_second=0, photos_at_once=0)
    assert keys.caller(first).requests_per_second == 20
    assert keys.caller(second).rights == set(Right)
    expires = read_keys(path)[1].expires
    assert expires is not None
    assert timedelta(days=89) < expires - datetime.now(UTC) < timedelta(days=91)


def test_the_command_prints_an_entry_for_a_file_elsewhere(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["key", "web", "--catalog", "*", "--right", "search", "--print"]) == 0
    said = capsys.readouterr()
    path = tmp_path / "keys.toml"
    path.write_text(said.out)
    keys = KeyRing(path, requests_per_second=0, photos_at_once=0)
    assert keys.caller(said.err.strip()).name == "web"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["web"], "LOOKALIKE_KEYS_FILE does not say"),
        (["Web!", "--print"], "keys.0.id"),
        (["web", "--print", "--photos-at-once", "-1"], "keys.0.photos_at_once"),
    ],
)
def test_what_the_command_refuses(
    capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LOOKALIKE_KEYS_FILE", raising=False)
    assert main(["key", *arguments, "--catalog", "a", "--right", "search"]) == 1
    assert sentence in capsys.readouterr().err


def test_no_id_comes_twice_by_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LOOKALIKE_KEYS_FILE", str(tmp_path / "keys.toml"))
    arguments = ["key", "web", "--catalog", "a", "--right", "search"]
    assert main(arguments) == 0
    before = (tmp_path / "keys.toml").read_text()
    assert main(arguments) == 1
    assert "web comes twice" in capsys.readouterr().err
    assert (tmp_path / "keys.toml").read_text() == before
