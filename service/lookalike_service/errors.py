"""The errors that a caller can meet (interceptor.py puts them on the wire).

LookalikeError                 code                  reason
├── RequestInvalid             INVALID_ARGUMENT      REQUEST_INVALID
│   ├── ImageUnreadable                              IMAGE_UNREADABLE
│   ├── ImageTooLarge                                IMAGE_TOO_LARGE
│   ├── FilterMalformed                              FILTER_MALFORMED
│   ├── PageTokenInvalid                             PAGE_TOKEN_INVALID
│   ├── GarmentTokenInvalid                          GARMENT_TOKEN_INVALID
│   └── RegionInvalid                                REGION_INVALID
├── ProductNotFound            NOT_FOUND             PRODUCT_NOT_FOUND
├── CatalogNotFound            NOT_FOUND             CATALOG_NOT_FOUND
├── ProductExists              ALREADY_EXISTS        PRODUCT_EXISTS
├── RevisionOutdated           ABORTED               REVISION_OUTDATED
├── Overloaded                 RESOURCE_EXHAUSTED    OVERLOADED (with RetryInfo)
│   └── QuotaExceeded                                QUOTA_EXCEEDED (with RetryInfo)
├── ModelUnavailable           UNAVAILABLE           MODEL_UNAVAILABLE (with RetryInfo)
├── IndexUnavailable           UNAVAILABLE           INDEX_UNAVAILABLE (with RetryInfo)
├── StoreUnavailable           UNAVAILABLE           STORE_UNAVAILABLE (with RetryInfo)
├── VersionsOutdated           UNAVAILABLE           VERSIONS_OUTDATED (with RetryInfo)
├── CredentialsInvalid         UNAUTHENTICATED       CREDENTIALS_INVALID
├── PermissionDenied           PERMISSION_DENIED     PERMISSION_DENIED
└── DeadlineExceeded           DEADLINE_EXCEEDED     DEADLINE_EXCEEDED

StartupError                   never reaches a caller: the process says it and ends
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import grpc

__all__ = [
    "CatalogNotFound",
    "CredentialsInvalid",
    "DeadlineExceeded",
    "FilterMalformed",
    "GarmentTokenInvalid",
    "ImageTooLarge",
    "ImageUnreadable",
    "IndexUnavailable",
    "LookalikeError",
    "ModelUnavailable",
    "Overloaded",
    "PageTokenInvalid",
    "PermissionDenied",
    "ProductExists",
    "ProductNotFound",
    "QuotaExceeded",
    "RegionInvalid",
    "RequestInvalid",
    "RevisionOutdated",
    "StartupError",
    "StoreUnavailable",
    "VersionsOutdated",
]


class StartupError(Exception):
    """The server cannot start; the text is a sentence that says what to do."""


class LookalikeError(Exception):
    """The root: a clear sentence for the caller, with what a program can act on.

    `field` names the request field at fault, as the proto spells it; `metadata` goes into ErrorInfo;
    `retry_after` is in seconds and becomes RetryInfo (None: there is no point in trying again).
    """

    code: ClassVar[grpc.StatusCode] = grpc.StatusCode.INTERNAL
    reason: ClassVar[str] = "INTERNAL"
    default_field: ClassVar[str] = ""
    default_retry_after: ClassVar[float | None] = None

    def __init__(
        self,
        message: str,
        *,
        field: str = "",
        metadata: Mapping[str, str] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.field = field or self.default_field
        self.metadata = dict(metadata or {})
        self.retry_after = self.default_retry_after if retry_after is None else retry_after


class RequestInvalid(LookalikeError):
    """A field of the request does not hold."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "REQUEST_INVALID"


class ImageUnreadable(RequestInvalid):
    """The bytes are no image, or a broken one."""

    reason = "IMAGE_UNREADABLE"
    default_field = "image"


class ImageTooLarge(RequestInvalid):
    """The image has too many bytes or pixels; found before it was decoded."""

    reason = "IMAGE_TOO_LARGE"
    default_field = "image"


class FilterMalformed(RequestInvalid):
    """The filter does not parse; `position` counts characters from 0."""

    reason = "FILTER_MALFORMED"
    default_field = "filter"

    def __init__(self, message: str, *, position: int) -> None:
        super().__init__(f"{message} (at character {position})", metadata={"position": str(position)})
        self.position = position


class PageTokenInvalid(RequestInvalid):
    """The page token was altered, or belongs to another request."""

    reason = "PAGE_TOKEN_INVALID"
    default_field = "page_token"


class GarmentTokenInvalid(RequestInvalid):
    """The garment token was altered, has expired, or holds a vector of another version."""

    reason = "GARMENT_TOKEN_INVALID"
    default_field = "garments.tokens"


class RegionInvalid(RequestInvalid):
    """A region lies outside 0..1, has no area, or there are too many."""

    reason = "REGION_INVALID"
    default_field = "regions"


class ProductNotFound(LookalikeError):
    """No product of that name."""

    code = grpc.StatusCode.NOT_FOUND
    reason = "PRODUCT_NOT_FOUND"


class CatalogNotFound(LookalikeError):
    """No catalog of that name."""

    code = grpc.StatusCode.NOT_FOUND
    reason = "CATALOG_NOT_FOUND"


class ProductExists(LookalikeError):
    """Create of a product that is there already."""

    code = grpc.StatusCode.ALREADY_EXISTS
    reason = "PRODUCT_EXISTS"


class RevisionOutdated(LookalikeError):
    """The stored product is newer than the one that was sent."""

    code = grpc.StatusCode.ABORTED
    reason = "REVISION_OUTDATED"


class VersionsOutdated(LookalikeError):
    """The embedding versions of the catalog changed while a product was written; the gateway itself tries again."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = "VERSIONS_OUTDATED"
    default_retry_after = 1.0


class Overloaded(LookalikeError):
    """No permit within the bound, or Triton's queue is full; trying again a little later helps."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "OVERLOADED"
    default_retry_after = 0.2


class QuotaExceeded(Overloaded):
    """The caller has used up its share."""

    reason = "QUOTA_EXCEEDED"
    default_retry_after = 1.0


class ModelUnavailable(LookalikeError):
    """Triton does not answer."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = "MODEL_UNAVAILABLE"
    default_retry_after = 1.0


class IndexUnavailable(LookalikeError):
    """Milvus does not answer."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = "INDEX_UNAVAILABLE"
    default_retry_after = 1.0


class StoreUnavailable(LookalikeError):
    """The database or the image store does not answer."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = "STORE_UNAVAILABLE"
    default_retry_after = 1.0


class CredentialsInvalid(LookalikeError):
    """No credentials, or wrong ones."""

    code = grpc.StatusCode.UNAUTHENTICATED
    reason = "CREDENTIALS_INVALID"


class PermissionDenied(LookalikeError):
    """The credentials do not reach that far."""

    code = grpc.StatusCode.PERMISSION_DENIED
    reason = "PERMISSION_DENIED"


class DeadlineExceeded(LookalikeError):
    """The caller's time was over before the answer was ready."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED
    reason = "DEADLINE_EXCEEDED"
