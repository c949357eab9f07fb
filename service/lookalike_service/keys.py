"""API keys: a file holds what they may do and their hashes, never the keys themselves."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from lookalike_service.callers import ALL_CATALOGS, Caller, Right
from lookalike_service.errors import CredentialsInvalid, StartupError
from lookalike_service.names import ID
from lookalike_service.watched import Watched

__all__ = ["Key", "KeyRing", "hashed", "new_key", "parsed_keys", "read_keys"]

# The id leads to the entry, so that one hash is compared whoever calls; the prefix lets scanners for secrets find keys.
_KEY: Final = re.compile(r"lookalike_([a-z0-9-]{1,64})_([A-Za-z0-9_-]{43})")
_NOBODYS: Final = hashlib.sha256(b"").hexdigest()
_CONFIGURATION = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

KeyId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,64}$")]
CatalogId = Annotated[str, StringConstraints(pattern=rf"^({ID}|\{ALL_CATALOGS})$")]


class Key(BaseModel):
    """One entry of the file."""

    model_config = _CONFIGURATION

    id: KeyId
    """What logs and quotas call it."""
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    """The hash of the key, in hexadecimal. Keys are 256 random bits: no guessing gets there, however fast the hash."""
    catalogs: Annotated[frozenset[CatalogId], Field(min_length=1)]
    """The catalogs it opens; "*" is all of them."""
    rights: Annotated[frozenset[Right], Field(min_length=1)]
    """search, manage, or both."""
    expires: AwareDatetime | None = None
    """When it ends; never, without one."""
    requests_per_second: float | None = Field(default=None, ge=0)
    """Its own quota; 0 is none, and without one the server's default holds."""
    photos_at_once: int | None = Field(default=None, ge=0)
    """As requests_per_second, for photos that are with the models or wait for them."""


class _File(BaseModel):
    model_config = _CONFIGURATION

    keys: tuple[Key, ...] = ()

    @model_validator(mode="after")
    def _different(self) -> _File:
        ids = [key.id for key in self.keys]
        twice = sorted({id for id in ids if ids.count(id) > 1})
        if twice:
            raise ValueError(f"every key has an id of its own, and {', '.join(twice)} comes twice")
        return self


class KeyRing:
    """The keys of a file, which is read again whenever it changes."""

    def __init__(
        self,
        path: Path,
        *,
        requests_per_second: float,
        photos_at_once: int,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """The quota is that of keys that have none of their own. Raises StartupError."""
        self._watched = Watched([path], lambda: {key.id: key for key in read_keys(path)})
        self._requests_per_second = requests_per_second
        self._photos_at_once = photos_at_once
        self._now = now

    def __len__(self) -> int:
        return len(self._watched.value())

    def caller(self, presented: str) -> Caller:
        """Whose key this is. Raises CredentialsInvalid."""
        shape = _KEY.fullmatch(presented)
        key = self._watched.value().get(shape[1]) if shape else None
        # Compared in constant time, and with something even when there is no such key.
        right = hmac.compare_digest(hashed(presented), key.sha256 if key else _NOBODYS)
        if key is None or not right:
            raise CredentialsInvalid("the API key is not one of this server's; it may have been withdrawn")
        if key.expires is not None and key.expires <= self._now():
            raise CredentialsInvalid(f"the API key {key.id} expired on {key.expires:%Y-%m-%d}; ask for a new one")
        return Caller(
            key.id,
            key.catalogs,
            key.rights,
            self._requests_per_second if key.requests_per_second is None else key.requests_per_second,
            self._photos_at_once if key.photos_at_once is None else key.photos_at_once,
        )


def hashed(key: str) -> str:
    """SHA-256 of a key, in hexadecimal."""
    return hashlib.sha256(key.encode()).hexdigest()


def new_key(id: str) -> str:
    """A key that nobody has yet."""
    return f"lookalike_{id}_{secrets.token_urlsafe(32)}"


def read_keys(path: Path) -> tuple[Key, ...]:
    """The keys of a file. Raises StartupError that says what is wrong."""
    try:
        return parsed_keys(path.read_text(encoding="utf-8"), path)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise StartupError(
            f"the file of API keys {path} cannot be read ({reason}); LOOKALIKE_KEYS_FILE names it, and "
            "`python -m lookalike_service key` makes a first key"
        ) from error


def parsed_keys(content: str, path: Path) -> tuple[Key, ...]:
    """The keys that the content of a file holds. Raises StartupError, which does not repeat what stands there."""
    try:
        return _File.model_validate(tomllib.loads(content)).keys
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'keys'}: {fault['msg']}" for fault in error.errors())
        raise StartupError(f"the file of API keys {path} does not hold: {faults}") from None
    except tomllib.TOMLDecodeError as error:
        raise StartupError(f"the file of API keys {path} is not TOML: {error}") from error
