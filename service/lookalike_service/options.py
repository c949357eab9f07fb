"""What the settings say to the adapters."""

from __future__ import annotations

from lookalike_service.database import DatabaseOptions
from lookalike_service.milvus import MilvusOptions
from lookalike_service.settings import Settings

__all__ = ["database_options", "milvus_options"]


def database_options(settings: Settings) -> DatabaseOptions:
    """What the settings say about the database."""
    return DatabaseOptions(
        url=settings.database_url,
        user=settings.database_user,
        password=settings.database_password.get_secret_value(),
        tls=settings.database_tls,
        ca_certificate=settings.database_ca_certificate,
        connections=settings.database_connections,
        pool_seconds=settings.database_pool_seconds,
        connect_seconds=settings.database_connect_seconds,
        call_seconds=settings.database_seconds,
    )


def milvus_options(settings: Settings) -> MilvusOptions:
    """What the settings say about Milvus."""
    return MilvusOptions(
        uri=settings.milvus_uri,
        token=settings.milvus_token.get_secret_value(),
        ca_certificate=settings.milvus_ca_certificate,
        client_certificate=settings.milvus_client_certificate,
        client_key=settings.milvus_client_key,
        server_name=settings.milvus_server_name,
        clients=settings.milvus_clients,
        calls=settings.milvus_calls,
        index_kind=settings.index_kind,
        links=settings.index_links,
        build_width=settings.index_build_width,
        search_width=settings.index_search_width,
        lists=settings.index_lists,
        probes=settings.index_probes,
        batch=settings.index_batch,
        call_seconds=settings.index_seconds,
    )
