"""Metrics for Prometheus: what is counted, and the address where it is read (docs/operations.md has the table)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    start_http_server,
)

from lookalike_service.errors import StartupError

__all__ = [
    "REGISTRY",
    "also_viewed",
    "call_began",
    "call_ended",
    "certificate_ends",
    "exposed",
    "index_rows",
    "models_seeing",
    "page_views",
    "permit_refused",
    "phase_took",
    "photo_asked",
    "photo_seen",
    "probed",
    "product_imported",
    "record",
    "search_answered",
    "server_asked",
    "versions_are",
    "watch_outbox",
    "watch_permits",
]

logger = logging.getLogger(__name__)

REGISTRY: Final = CollectorRegistry()
"""Everything that this process counts: one gateway is one process. Labels are never what a caller wrote."""

# Seconds, from 1 ms to 30 s.
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

# When a series began is of no use here, and would double their number.
disable_created_metrics()  # type: ignore[no-untyped-call]

_calls = Counter("lookalike_calls", "Calls that are over.", ["method", "code"], registry=REGISTRY)
_errors = Counter("lookalike_call_errors", "Calls that ended in an error.", ["method", "reason"], registry=REGISTRY)
_call_seconds = Histogram(
    "lookalike_call_seconds", "Time of a whole call.", ["method"], buckets=_SECONDS, registry=REGISTRY
)
_under_way = Gauge("lookalike_calls_under_way", "Calls being answered.", ["method"], registry=REGISTRY)
_phase_seconds = Histogram(
    "lookalike_phase_seconds",
    "Where the time of searches went.",
    ["phase", "version"],
    buckets=_SECONDS,
    registry=REGISTRY,
)
_answers = Counter(
    "lookalike_answers",
    "Searches answered, by what they were answered with.",
    ["catalog", "version", "found"],
    registry=REGISTRY,
)
_versions = Gauge(
    "lookalike_embedding_versions",
    "1 for the state that an embedding version is in.",
    ["catalog", "version", "state"],
    registry=REGISTRY,
)
_garments = Histogram(
    "lookalike_garments_per_photo",
    "Garments detected on a searched photo.",
    buckets=(0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 16),
    registry=REGISTRY,
)
_photos = Counter(
    "lookalike_photos",
    "Photos asked for, by what answered: the models, or what is remembered.",
    ["by"],
    registry=REGISTRY,
)
_permits = Gauge("lookalike_permits", "How many may work at once.", ["work"], registry=REGISTRY)
_taken = Gauge("lookalike_permits_taken", "Permits given out.", ["work"], registry=REGISTRY)
_waiting = Gauge("lookalike_permits_waiting", "Calls that wait for a permit.", ["work"], registry=REGISTRY)
_refused = Counter("lookalike_permits_refused", "Calls refused for want of one.", ["work"], registry=REGISTRY)
_server_seconds = Histogram(
    "lookalike_server_seconds",
    "Calls to Triton, Milvus and the database.",
    ["server", "operation", "outcome"],
    buckets=_SECONDS,
    registry=REGISTRY,
)
_index_rows = Counter(
    "lookalike_index_rows", "Vectors searched, rows written and deleted.", ["catalog", "operation"], registry=REGISTRY
)
_imported = Counter("lookalike_imported_products", "Products of imports.", ["catalog", "outcome"], registry=REGISTRY)
_embedded = Counter("lookalike_embedded_views", "Garment views embedded by imports.", ["catalog"], registry=REGISTRY)
_page_views = Counter(
    "lookalike_page_views", "Views of products that shops reported.", ["catalog", "outcome"], registry=REGISTRY
)
_also_viewed = Counter(
    "lookalike_also_viewed_products",
    "Products listed as also viewed, by why they are: viewed together, or similar.",
    ["origin"],
    registry=REGISTRY,
)
_outbox = Gauge("lookalike_outbox_waiting", "Changes that the index has not got yet.", registry=REGISTRY)
_seeing = Gauge("lookalike_models_seeing", "Whether the models look at photos: 1, or 0.", registry=REGISTRY)
_probes = Counter(
    "lookalike_probes", "Photos of our own, sent to see whether the models see.", ["outcome"], registry=REGISTRY
)
_certificate = Gauge(
    "lookalike_certificate_expiry_timestamp_seconds",
    "When the certificate of the main port ends; 0 while it is plain.",
    registry=REGISTRY,
)
for _outcome in ("ok", "late", "error"):
    _probes.labels(_outcome)
ProcessCollector(registry=REGISTRY)

_recording = True


def record(on: bool) -> None:
    """Count from now on, or do not."""
    global _recording
    _recording = on


@asynccontextmanager
async def exposed(address: str) -> AsyncIterator[None]:
    """Answer Prometheus at host:port during a block; nothing is counted without an address. Raises StartupError."""
    record(bool(address))
    if not address:
        yield
        return
    host, _, port = address.rpartition(":")
    try:
        # A thread of its own: a scrape never waits for the event loop, nor the other way round.
        server, thread = start_http_server(int(port), addr=host.strip("[]"), registry=REGISTRY)
    except OSError as error:
        raise StartupError(
            f"cannot show metrics on {address}: the port is taken, or the address is not this machine's; set "
            "LOOKALIKE_METRICS_ADDRESS to another one (port 0 takes any that is free, an empty address none)"
        ) from error
    logger.info("metrics on http://%s:%d/metrics", host, server.server_port)
    try:
        yield
    finally:
        await asyncio.to_thread(server.shutdown)
        server.server_close()
        await asyncio.to_thread(thread.join)


def call_began(method: str) -> None:
    """A call has come in."""
    if _recording:
        _under_way.labels(method).inc()


def call_ended(method: str, *, code: str, reason: str, seconds: float) -> None:
    """A call is over; `reason` is empty when it went well."""
    if not _recording:
        return
    _under_way.labels(method).dec()
    _calls.labels(method, code).inc()
    _call_seconds.labels(method).observe(seconds)
    if reason:
        _errors.labels(method, reason).inc()


def phase_took(phase: str, seconds: float, *, version: int) -> None:
    """A search by an embedding version spent so long on one of its phases."""
    if _recording:
        _phase_seconds.labels(phase, str(version)).observe(seconds)


def search_answered(catalog: str, *, version: int, found: bool) -> None:
    """A search was answered by an embedding version; `found` says that there were hits."""
    if _recording:
        _answers.labels(catalog, str(version), "yes" if found else "no").inc()


def versions_are(states: Iterable[tuple[str, int, str]]) -> None:
    """These are the embedding versions: catalog, version and state."""
    if _recording:
        _versions.clear()
        for catalog, version, state in states:
            _versions.labels(catalog, str(version), state).set(1)


def photo_seen(garments: int) -> None:
    """A photo was looked at, and had so many garments."""
    if _recording:
        _garments.observe(garments)


def photo_asked(*, known: bool) -> None:
    """A photo was asked for; `known` says that it had been looked at a moment ago."""
    if _recording:
        _photos.labels("recent" if known else "models").inc()


def server_asked(server: str, operation: str, *, outcome: str, seconds: float) -> None:
    """A call to `server` is over; `outcome` is ok, error or cancelled."""
    if _recording:
        _server_seconds.labels(server, operation, outcome).observe(seconds)


def index_rows(catalog: str, operation: str, rows: int) -> None:
    """So many vectors were searched, or rows written or deleted."""
    if _recording:
        _index_rows.labels(catalog, operation).inc(rows)


def product_imported(catalog: str, outcome: str, *, embedded: int = 0) -> None:
    """One product of an import is answered; `catalog` is empty when its name was no good."""
    if not _recording:
        return
    _imported.labels(catalog, outcome).inc()
    if embedded:
        _embedded.labels(catalog).inc(embedded)


def page_views(catalog: str, outcome: str, views: int) -> None:
    """This became of so many reported views."""
    if _recording:
        _page_views.labels(catalog, outcome).inc(views)


def also_viewed(together: int, products: int) -> None:
    """So many products were listed, of which so many were viewed together."""
    if _recording:
        _also_viewed.labels("viewed_together").inc(together)
        _also_viewed.labels("similar").inc(products - together)


def permit_refused(work: str) -> None:
    """A call was refused for want of a permit."""
    if _recording:
        _refused.labels(work).inc()


def probed(outcome: str) -> None:
    """The models were asked to look at a photo of ours; `outcome` is ok, late or error."""
    if _recording:
        _probes.labels(outcome).inc()


def models_seeing(seeing: bool) -> None:
    """The models look at photos, or do not."""
    _seeing.set(seeing)


def certificate_ends(moment: float) -> None:
    """The certificate that new connections get is valid until then, in seconds since 1970."""
    _certificate.set(moment)


def watch_permits(work: str, *, limit: int, taken: Callable[[], int], waiting: Callable[[], int]) -> None:
    """Ask these, whenever Prometheus asks us, how many permits are given out and how many calls wait for one."""
    _permits.labels(work).set(limit)
    _taken.labels(work).set_function(taken)
    _waiting.labels(work).set_function(waiting)
    _refused.labels(work)


def watch_outbox(waiting: Callable[[], int]) -> None:
    """Ask this, whenever Prometheus asks us, how many changes wait for the index."""
    _outbox.set_function(waiting)
