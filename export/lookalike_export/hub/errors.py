"""What can go wrong between a name on the hub and a served stage."""

from __future__ import annotations

__all__ = ["HubError"]


class HubError(RuntimeError):
    """A model cannot be had, is of another kind, or does not fit the repository; nothing was written."""
