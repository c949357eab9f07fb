"""The one embedding version that a load is for: that which serves the catalog."""

from __future__ import annotations

from lookalike_service.errors import StartupError
from lookalike_service.versions import Snapshot
from lookalike_service.watching import Records

__all__ = ["needed_version", "versions_of"]


async def versions_of(records: Records) -> Snapshot:
    """What the database says of the embedding versions now. Raises StoreUnavailable."""
    return Snapshot(await records.all())


def needed_version(versions: Snapshot, catalog: str) -> int:
    """The version whose vectors a product of the catalog needs; 0 for a catalog of which nothing is written yet.

    A version that is being filled gets the product from its filling. Raises StartupError when the catalog has another
    complete version, since then the database takes no product that has the vectors of one alone.
    """
    live = versions.live(catalog)
    if not live:
        return 0
    serving = versions.serving(catalog)
    others = [each.record for each in live if each.record.state.complete and each.record.version != serving]
    if others:
        shown = " and ".join(f"{each.version} ({each.state.value})" for each in others)
        drops = " and ".join(f"`lookalike reindex --drop {each.version} --catalog {catalog}`" for each in others)
        raise StartupError(
            f"catalog {catalog} has, beside embedding version {serving}, which serves, {shown}: its products need the "
            f"vectors of each, and bulk makes those of one. {drops} takes away what is not needed before the load; "
            "after it `lookalike reindex VERSION --no-switch` makes its vectors again, from the stored photographs"
        )
    return serving
