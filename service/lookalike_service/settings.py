"""Every knob of the gateway; read from the environment as LOOKALIKE_<NAME>; the text under each is its manual."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from lookalike_service.errors import StartupError

__all__ = ["Settings", "read_settings"]

MEBIBYTE: Final = 1024 * 1024
# milvus_versions.py says which server builds which; a test compares.
INDEX_KINDS: Final = ("HNSW", "HNSW_SQ", "IVF_FLAT", "IVF_SQ8", "IVF_RABITQ", "FLAT", "AUTOINDEX")
TLS_MODES: Final = ("disable", "prefer", "require", "verify-full")


class Settings(BaseSettings):
    """Read once at the start and handed down; nothing else reads the environment."""

    model_config = SettingsConfigDict(
        env_prefix="LOOKALIKE_", frozen=True, extra="forbid", use_attribute_docstrings=True
    )

    address: str = "127.0.0.1:50051"
    """Where the gateway listens. Port 0 takes a free one. Beyond this machine it listens only when callers show who
    they are, with keys (keys_file) or certificates (tls_client_ca)."""

    allow_anonymous: bool = False
    """Listen beyond this machine although nobody is asked who he is: for a network that strangers do not reach."""

    keys_file: str = ""
    """A TOML file with the API keys (`python -m lookalike_service key` writes it), read again when it changes. With
    one, every call but those for health needs a key; without one, none does."""

    tls_certificate: str = ""
    """A PEM file with the gateway's certificate and those between it and the authority. With one, calls are encrypted.
    All three TLS files are read again for a new connection when they have changed."""

    tls_key: str = ""
    """The PEM file with the key of that certificate."""

    tls_client_ca: str = ""
    """A PEM file with the authorities whose certificates callers must show (mTLS). Without a keys_file, whoever shows
    one may do everything in every catalog."""

    health_address: str = ""
    """host:port of a second, plain port that answers nothing but health, for those who watch over the process and have
    no certificate; empty for none. The embedded stack takes a free one on loopback by itself when the main port speaks
    TLS."""

    page_address: str = ""
    """host:port of the page for browsers and the thumbnails that it shows; empty for none, port 0 takes a free one. Who
    may call is asked there as on `address`, and with `tls_certificate` it is HTTPS. The embedded stack has it on
    127.0.0.1:8080."""

    page_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    """The names, separated by commas, under which browsers reach the page, behind a proxy for instance; IP addresses
    and `localhost` need not be named. Others are refused, so that no foreign site can pass for the page by its DNS."""

    page_records_views: bool = False
    """Count the products that are opened on the page as looked at (RecordViews), in sessions that end with the
    browser's tab. Leave it off where the page is for staff: their clicks are not those of shoppers. The embedded stack
    has it on."""

    page_upload_seconds: float = Field(default=60.0, gt=0)
    """The time that a browser has for sending a photo."""

    page_thumbnail_mebibytes: float = Field(default=32.0, ge=0)
    """The memory for thumbnails that were asked for of late, some 10 KB each."""

    requests_per_second: float = Field(default=0.0, ge=0)
    """The quota of callers whose key has none of its own; more are refused (QUOTA_EXCEEDED). 0 is no bound."""

    photos_at_once: int = Field(default=0, ge=0)
    """How many photos such a caller may have with the models or waiting for them; 0 is no bound."""

    bytes_in_flight: int = Field(default=512 * MEBIBYTE, ge=32 * MEBIBYTE)
    """The most bytes of requests that are being answered or wait for it, imports aside, which are read only as fast as
    they are worked on; more are refused (OVERLOADED)."""

    triton_address: str = "127.0.0.1:8001"
    """Triton's gRPC endpoint."""

    triton_round_robin: bool = False
    """Share the photos among all addresses that triton_address stands for, a name that DNS knows several of (a headless
    Service of Kubernetes, written `dns:///name:port`), instead of sending all to the first that answers. Set
    photo_permits then, since what is learnt of one Triton is no longer what there is."""

    bulk_triton_addresses: Annotated[tuple[str, ...], NoDecode] = ()
    """The Tritons among which `lookalike bulk` shares its photos, as host:port separated by commas; triton_address
    alone when empty."""

    embedding_version: int = Field(default=1, ge=1)
    """The pair of ensembles and the collections that a new catalog begins with: `garments_<v>` and
    `garments_<catalog>_<v>`. A catalog that is there keeps its own until `lookalike reindex` brings it to another."""

    version_shares: Annotated[dict[int, float], NoDecode] = Field(default_factory=dict)
    """The share of the searches that other embedding versions get, as in `2:0.1`, separated by commas; the version that
    serves gets the rest. A version has no share in a catalog that is not filled with it. With `lookalike-sticky-key` in
    the metadata of a call, the same key gets the same version."""

    versions_seconds: float = Field(default=1.0, gt=0, le=60)
    """How often a gateway looks in the database for a version that was filled, switched to or dropped."""

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

    milvus_calls: int = Field(default=2, ge=1, le=1024)
    """How many searches of one kind a connection has under way; those that come meanwhile wait for one of them and then
    go together as one call."""

    index_kind: str = "HNSW"
    """The kind of index that new collections get: HNSW, IVF_FLAT, IVF_SQ8, FLAT, AUTOINDEX, and where the server builds
    them HNSW_SQ (Lite, and Milvus from 2.6) and IVF_RABITQ (Milvus from 2.6). A collection that is there keeps the
    one it has; docs/operations.md says what each takes and finds."""

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

    database_url: str = Field(default="sqlite+aiosqlite:///lookalike.db", repr=False)
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

    products_remembered: int = Field(default=20_000, ge=0)
    """How many products of searches' hits are kept in memory, some 3 KB each. The database is still asked for their
    revisions each time, so that a change is seen at once; 0 keeps none."""

    images_url: str = Field(default="file://lookalike-images", repr=False)
    """Where photographs lie, as fsspec writes it: a folder, `s3://bucket/path`, `memory://`."""

    catalogs: Annotated[tuple[str, ...], NoDecode] = ("default",)
    """The ids of the catalogs that exist, separated by commas."""

    max_message_bytes: int = Field(default=32 * MEBIBYTE, ge=MEBIBYTE)
    """gRPC refuses larger messages before our code sees them."""

    max_image_bytes: int = Field(default=20 * MEBIBYTE, ge=1024)
    """Larger images are refused unread (IMAGE_TOO_LARGE)."""

    workers: int = Field(default=1, ge=1, le=64)
    """How many gateways share the port, each a process of its own: one may die or be renewed (SIGHUP) while the
    others serve. Each has its part of the permits for photos, and shows its metrics on a port of its own: that of
    `metrics_address` and those after it."""

    probe_seconds: float = Field(default=1.0, gt=0)
    """How often the models look at a small photo of ours, unless callers' photos prove that they see. When they do not,
    the health service says NOT_SERVING for `lookalike.v1.SearchService`."""

    concurrent_streams: int = Field(default=1024, ge=1)
    """How many calls one connection may have open."""

    connection_seconds: float = Field(default=0.0, ge=0)
    """After how long callers are asked to connect anew, which is when they find gateways that have come. Calls under
    way finish on the old connection. 0 keeps connections for as long as they last."""

    photo_permits: int = Field(default=0, ge=0)
    """How many photos the models look at at once; the rest wait here, in turn, where a caller may still leave. 0 takes
    what keeps the instances of Triton's configuration busy: two photos for each on a CPU, two batches on a GPU. Set it
    where several Tritons answer at one address (their sum), or several gateways share one (a part each)."""

    search_permits: int = Field(default=32, ge=1)
    """How many searches are with the index at once; the rest wait."""

    search_waiters: int = Field(default=256, ge=0)
    """How many calls may wait for a permit of either kind; more are refused at once (OVERLOADED)."""

    permit_wait_seconds: float = Field(default=10.0, ge=0)
    """The longest that a call waits for a permit before it is refused (OVERLOADED), however patient its caller is."""

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

    recent_mebibytes: float = Field(default=64.0, ge=0)
    """The memory for what was found on photos of late, so that the same photo asked for again needs no model: 64 hold
    some 1,000 photos of five garments. 0 keeps nothing. The photos themselves are never kept."""

    token_keys: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    """Secrets for garment and page tokens, separated by commas: the first one signs, all of them verify. At least
    16 characters each. Without any, a random one is made at start, so that tokens end with the process."""

    token_seconds: float = Field(default=6 * 3600.0, gt=0)
    """How long a garment token holds."""

    session_key: SecretStr = SecretStr("")
    """The secret with which the ids of visitors' sessions are hashed before they are stored; at least 16 characters,
    the same for all gateways of a database, and never changed. Without one, a random one is made at start: a session
    that goes on over a restart then counts as two, and views of before it cannot be deleted by their session."""

    page_view_days: int = Field(default=30, ge=1, le=366)
    """For how many days a session's view of a product is kept, and counts; older ones are deleted within an hour."""

    page_view_half_life: float = Field(default=7.0, gt=0)
    """After how many days a view counts half."""

    page_views_kept: int = Field(default=20_000_000, ge=1)
    """The most views that are kept; beyond, the oldest days are deleted early, but never those of today. A view takes
    some 110 bytes in SQLite."""

    page_views_per_session: int = Field(default=100, ge=1, le=10_000)
    """How many products of one session count; what robots look at beyond is left out."""

    page_views_per_second: float = Field(default=2000.0, gt=0)
    """How many views a gateway takes in; those too many wait for `permit_wait_seconds` and are then refused
    (OVERLOADED)."""

    also_viewed_sessions: int = Field(default=500, ge=1, le=100_000)
    """From how many sessions of a product, its latest, it is counted what they looked at, too."""

    also_viewed_least: int = Field(default=2, ge=1)
    """How many sessions must have looked at two products for them to belong together: below 2, a list could tell what a
    single visitor looked at."""

    also_viewed_products: int = Field(default=200, ge=1, le=1000)
    """How many products a list has at most that were viewed together with one; lookalikes come after them."""

    also_viewed_seconds: float = Field(default=60.0, ge=0)
    """How old a count may be that a list is made from; 0 counts anew for every page."""

    import_streams: int = Field(default=8, ge=1)
    """How many imports run at once; more are refused (OVERLOADED), and so are those of one key beyond half of them
    (QUOTA_EXCEEDED)."""

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

    log_format: str = "text"
    """How a line of the log is written: text, or json for machines that collect them."""

    metrics_address: str = "127.0.0.1:9464"
    """Where Prometheus reads the metrics, as host:port over plain HTTP; an address that no stranger reaches. Port 0
    takes a free one, and an empty address counts nothing at all."""

    traces_url: str = ""
    """Where spans are sent: a collector that speaks OTLP over HTTP, as in http://127.0.0.1:4318/v1/traces. Empty means
    no traces."""

    traces_share: float = Field(default=0.01, ge=0, le=1)
    """The share of calls that are traced, 0 to 1; a call whose caller traces it is always traced, and one whose caller
    has decided not to never is."""

    @field_validator("bulk_triton_addresses", "catalogs", "page_hosts", "token_keys", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("version_shares", mode="before")
    @classmethod
    def _read_shares(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        pairs = [part.split(":") for part in value.split(",") if part.strip()]
        if any(len(pair) != 2 for pair in pairs):
            raise ValueError(f"version_shares is version:share, as in 2:0.1, separated by commas; not {value!r}")
        return {version.strip(): share.strip() for version, share in pairs}

    @field_validator("version_shares")
    @classmethod
    def _no_more_than_all(cls, value: dict[int, float]) -> dict[int, float]:
        if any(not 0 <= share <= 1 for share in value.values()) or sum(value.values()) > 1 + 1e-9:
            raise ValueError("version_shares are between 0 and 1 each, and 1 at most together")
        return value

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

    @field_validator("session_key")
    @classmethod
    def _long_enough_key(cls, value: SecretStr) -> SecretStr:
        if 0 < len(value.get_secret_value()) < 16:
            raise ValueError("session_key has at least 16 characters; make one with `openssl rand -hex 32`")
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

    @field_validator("log_format")
    @classmethod
    def _known_format(cls, value: str) -> str:
        if value not in ("text", "json"):
            raise ValueError("log_format is text or json")
        return value

    @field_validator("metrics_address", "page_address")
    @classmethod
    def _host_and_port(cls, value: str, info: ValidationInfo) -> str:
        if value and not re.fullmatch(r"\S+:\d{1,5}", value):
            raise ValueError(f"{info.field_name} is host:port, as in 127.0.0.1:9464, or empty; not {value!r}")
        return value

    @field_validator("traces_url")
    @classmethod
    def _whole_url(cls, value: str) -> str:
        if value and not re.fullmatch(r"https?://[^/\s]+/\S+", value):
            raise ValueError("traces_url is a whole URL with its path, as in http://127.0.0.1:4318/v1/traces")
        return value

    @field_validator("log_level")
    @classmethod
    def _known_level(cls, value: str) -> str:
        if value.upper() not in ("DEBUG", "INFO", "WARNING", "ERROR"):
            raise ValueError("log_level is DEBUG, INFO, WARNING or ERROR")
        return value.upper()


def read_settings(**given: Any) -> Settings:  # noqa: ANN401 - any setting
    """The settings of the environment, those that are given first. Raises StartupError that names every fault."""
    try:
        return Settings(**given)
    except ValidationError as error:
        faults = [f"LOOKALIKE_{str(fault['loc'][0]).upper()}: {fault['msg']}" for fault in error.errors()]
        raise StartupError("; ".join(faults)) from error
