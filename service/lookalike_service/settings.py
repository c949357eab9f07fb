"""Every knob of the gateway; read from the environment as LOOKALIKE_<NAME>; the text under each is its manual."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

__all__ = ["Settings"]

MEBIBYTE: Final = 1024 * 1024
# milvus_versions.py says which server builds which; a test compares.
INDEX_KINDS: Final = ("HNSW", "HNSW_SQ", "IVF_FLAT", "IVF_SQ8", "FLAT", "AUTOINDEX")
TLS_MODES: Final = ("disable", "prefer", "require", "verify-full")


class Settings(BaseSettings):
    """Read once at the start and handed down; nothing else reads the environment."""

    model_config = SettingsConfigDict(
        env_prefix="LOOKALIKE_", frozen=True, extra="forbid", use_attribute_docstrings=True
    )

    address: str = "127.0.0.1:50051"
    """Where the gateway listens. Port 0 takes a free one. Without credentials, stay on the loopback address."""

    triton_address: str = "127.0.0.1:8001"
    """Triton's gRPC endpoint."""

    embedding_version: int = Field(default=1, ge=1)
    """Which pair of ensembles and which collections to use: `garments_<v>` and `garments_<catalog>_<v>`."""

    milvus_uri: str = "http://127.0.0.1:19530"
    """Milvus, as `http://host:port` (`https` for TLS). Milvus Lite runs as a process of its own and has such an
    address too."""

    milvus_token: SecretStr = SecretStr("")
    """`user:password` or an API key of Milvus."""

    milvus_ca_certificate: str = ""
    """A PEM file with the certificates that sign Milvus' own; without one, those that gRPC trusts. Needs `https`."""

    milvus_client_certificate: str = ""
    """A PEM file with our certificate, where Milvus asks for one (its tlsMode 2)."""

    milvus_client_key: str = ""
    """The PEM file with the key of that certificate."""

    milvus_server_name: str = ""
    """The name that Milvus' certificate must carry, where it is not the host of the URI."""

    milvus_clients: int = Field(default=1, ge=1, le=64)
    """How many connections the searches share; every write goes over one more."""

    index_kind: str = "HNSW"
    """The kind of index that new collections get: HNSW, IVF_FLAT, IVF_SQ8, FLAT, AUTOINDEX, or HNSW_SQ where the
    server builds it (Lite, and Milvus from 2.6). A collection that is there keeps the one it has."""

    index_links: int = Field(default=16, ge=4, le=64)
    """M of HNSW: links per vector; more find more and take more memory."""

    index_build_width: int = Field(default=200, ge=8, le=512)
    """efConstruction of HNSW: width of the search for links while building."""

    index_search_width: int = Field(default=64, ge=8, le=4096)
    """ef of HNSW: width of a search; never less than the rows that are asked for."""

    index_lists: int = Field(default=1024, ge=1, le=65536)
    """nlist of IVF: how many lists the vectors are sorted into; about four times the root of their number."""

    index_probes: int = Field(default=32, ge=1, le=65536)
    """nprobe of IVF: how many of those lists a search looks through; index_lists at most."""

    index_seconds: float = Field(default=10.0, gt=0)
    """The time one call to Milvus has; making a collection ready has six times as much per step."""

    index_batch: int = Field(default=2000, ge=1)
    """The most views in one write to Milvus; large ones are cut further, to fit its messages."""

    database_url: str = "sqlite+aiosqlite:///lookalike.db"
    """The catalog of record, as SQLAlchemy writes it: `sqlite+aiosqlite:///file` or
    `postgresql+asyncpg://user:password@host:port/database`."""

    database_user: str = ""
    """The user, where it is not part of the URL."""

    database_password: SecretStr = SecretStr("")
    """The password, where it is not part of the URL."""

    database_tls: str = "prefer"
    """TLS to PostgreSQL, as it names the ways itself: disable, prefer, require (encrypted, to whomever), or verify-full
    (certificate and host name are checked)."""

    database_ca_certificate: str = ""
    """For verify-full a PEM file with the certificates that sign the server's; without one, those of the system."""

    database_connections: int = Field(default=10, ge=1, le=1000)
    """The most connections to the database at once."""

    database_pool_seconds: float = Field(default=5.0, gt=0)
    """How long a call waits for one of them before it is refused (STORE_UNAVAILABLE)."""

    database_connect_seconds: float = Field(default=10.0, gt=0)
    """The time that making a connection has."""

    database_seconds: float = Field(default=15.0, gt=0)
    """The time one call to the database has, there (statement_timeout, lock_timeout) and here."""

    images_url: str = "file://lookalike-images"
    """Where photographs lie, as fsspec writes it: a folder, `s3://bucket/path`, `memory://`."""

    catalogs: Annotated[tuple[str, ...], NoDecode] = ("default",)
    """The ids of the catalogs that exist, separated by commas."""

    max_message_bytes: int = Field(default=32 * MEBIBYTE, ge=MEBIBYTE)
    """gRPC refuses larger messages before our code sees them."""

    max_image_bytes: int = Field(default=20 * MEBIBYTE, ge=1024)
    """Larger images are refused unread (IMAGE_TOO_LARGE)."""

    concurrent_streams: int = Field(default=1024, ge=1)
    """How many calls one connection may have open."""

    search_permits: int = Field(default=32, ge=1)
    """How many searches and analyses run at once; the rest wait."""

    search_waiters: int = Field(default=256, ge=0)
    """How many may wait for a permit; more are refused at once (OVERLOADED)."""

    permit_wait_seconds: float = Field(default=2.0, ge=0)
    """How long a call waits for a permit before it is refused (OVERLOADED)."""

    deadline_seconds: float = Field(default=30.0, gt=0)
    """The time a call has when its caller gives none, and the most it gets."""

    page_size: int = Field(default=10, ge=1)
    """Products per garment when a search does not say."""

    max_page_size: int = Field(default=100, ge=1)
    """The most products per garment and page."""

    max_depth: int = Field(default=1000, ge=1, le=1000)
    """How many products deep the pages of one garment reach."""

    list_page_size: int = Field(default=50, ge=1)
    """Products per page when ListProducts does not say."""

    max_list_page_size: int = Field(default=1000, ge=1)
    """The most products per page of ListProducts."""

    rerank_window: int = Field(default=100, ge=10)
    """CATEGORY_MODE_PREFER orders products anew within windows of this many."""

    token_keys: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    """Secrets for garment and page tokens, separated by commas: the first one signs, all of them verify. At least
    16 characters each. Without any, a random one is made at start, so that tokens end with the process."""

    token_seconds: float = Field(default=6 * 3600.0, gt=0)
    """How long a garment token holds."""

    import_streams: int = Field(default=8, ge=1)
    """How many imports run at once; more are refused (OVERLOADED)."""

    import_in_flight: int = Field(default=16, ge=1)
    """How many products of one import are worked on at once; beyond that its sender is held back."""

    import_deadline_seconds: float = Field(default=120.0, gt=0)
    """The time one product of an import has."""

    startup_seconds: float = Field(default=60.0, gt=0)
    """How long to wait for Triton, Milvus and the database at start."""

    grace_seconds: float = Field(default=10.0, ge=0)
    """How long calls under way may take to finish when the gateway stops."""

    log_level: str = "INFO"
    """DEBUG, INFO, WARNING or ERROR."""

    @field_validator("catalogs", "token_keys", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("catalogs")
    @classmethod
    def _known_letters(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        wrong = [catalog for catalog in value if not re.fullmatch(r"[A-Za-z0-9._~-]{1,128}", catalog)]
        if wrong or not value:
            raise ValueError(f"a catalog id is [A-Za-z0-9._~-]{{1,128}}, and at least one is needed; not {wrong}")
        return value

    @field_validator("token_keys")
    @classmethod
    def _long_enough(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if any(len(key.get_secret_value()) < 16 for key in value):
            raise ValueError("a token key needs at least 16 characters, for example from `openssl rand -hex 32`")
        return value

    @field_validator("index_kind")
    @classmethod
    def _known_kind(cls, value: str) -> str:
        if value not in INDEX_KINDS:
            raise ValueError(f"index_kind is one of {', '.join(INDEX_KINDS)}")
        return value

    @field_validator("database_tls")
    @classmethod
    def _known_tls(cls, value: str) -> str:
        if value not in TLS_MODES:
            raise ValueError(f"database_tls is one of {', '.join(TLS_MODES)}")
        return value

    @field_validator("index_probes")
    @classmethod
    def _no_more_than_lists(cls, value: int, info: ValidationInfo) -> int:
        if value > info.data.get("index_lists", value):
            raise ValueError(f"index_probes is index_lists ({info.data['index_lists']}) at most, not {value}")
        return value

    @field_validator("log_level")
    @classmethod
    def _known_level(cls, value: str) -> str:
        if value.upper() not in ("DEBUG", "INFO", "WARNING", "ERROR"):
            raise ValueError("log_level is DEBUG, INFO, WARNING or ERROR")
        return value.upper()
