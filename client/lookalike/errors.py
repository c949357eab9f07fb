"""The errors that a call can end in.

    LookalikeError                 code                  reason
    ├── RequestInvalid             INVALID_ARGUMENT      REQUEST_INVALID
    │   ├── ImageUnreadable                              IMAGE_UNREADABLE
    │   ├── ImageTooLarge                                IMAGE_TOO_LARGE (also found before sending)
    │   ├── FilterMalformed                              FILTER_MALFORMED (`position` counts characters from 0)
    │   ├── PageTokenInvalid                             PAGE_TOKEN_INVALID
    │   ├── GarmentTokenInvalid                          GARMENT_TOKEN_INVALID
    │   └── RegionInvalid                                REGION_INVALID
    ├── NotFound                   NOT_FOUND
    │   ├── ProductNotFound                              PRODUCT_NOT_FOUND
    │   └── CatalogNotFound                              CATALOG_NOT_FOUND
    ├── ProductExists              ALREADY_EXISTS        PRODUCT_EXISTS
    ├── RevisionOutdated           ABORTED               REVISION_OUTDATED
    ├── MessageTooLarge            RESOURCE_EXHAUSTED    none (found before sending)
    ├── Overloaded                 RESOURCE_EXHAUSTED    OVERLOADED
    │   └── QuotaExceeded                                QUOTA_EXCEEDED
    ├── Unavailable                UNAVAILABLE           none when the server cannot be reached, or shuts down
    │   ├── ModelUnavailable                             MODEL_UNAVAILABLE
    │   ├── IndexUnavailable                             INDEX_UNAVAILABLE
    │   └── StoreUnavailable                             STORE_UNAVAILABLE
    ├── CredentialsInvalid         UNAUTHENTICATED       CREDENTIALS_INVALID
    ├── PermissionDenied           PERMISSION_DENIED     PERMISSION_DENIED
    ├── DeadlineExceeded           DEADLINE_EXCEEDED     DEADLINE_EXCEEDED
    ├── NotImplementedYet          UNIMPLEMENTED         NOT_IMPLEMENTED
    └── ServerFault                INTERNAL              INTERNAL

Any other code becomes a LookalikeError of its own code. A reason that this version of the client does not know
becomes the class of its code, with `reason` as the server said it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import grpc

__all__ = [
    "CatalogNotFound",
    "CredentialsInvalid",
    "DeadlineExceeded",
    "FieldViolation",
    "FilterMalformed",
    "GarmentTokenInvalid",
    "ImageTooLarge",
    "ImageUnreadable",
    "IndexUnavailable",
    "LookalikeError",
    "MessageTooLarge",
    "ModelUnavailable",
    "NotFound",
    "NotImplementedYet",
    "Overloaded",
    "PageTokenInvalid",
    "PermissionDenied",
    "ProductExists",
    "ProductNotFound",
    "QuotaExceeded",
    "RegionInvalid",
    "RequestInvalid",
    "RevisionOutdated",
    "ServerFault",
    "StoreUnavailable",
    "Unavailable",
]


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """A field of the request, as the proto spells it, and what is wrong with it."""

    field: str
    description: str


class LookalikeError(Exception):
    """The root: a clear sentence, with what a program can act on.

    `code` is the gRPC status; `reason` the server's UPPER_SNAKE word ("" when there is none); `retry_after` the
    seconds after which the server thinks that trying again helps (None: it does not say so); `metadata` what
    ErrorInfo holds beside the reason; `request_id` what the server's log calls the call ("" when no server answered).
    """

    default_code: ClassVar[grpc.StatusCode] = grpc.StatusCode.UNKNOWN
    default_reason: ClassVar[str] = ""

    def __init__(
        self,
        message: str,
        *,
        code: grpc.StatusCode | None = None,
        reason: str | None = None,
        retry_after: float | None = None,
        field_violations: Sequence[FieldViolation] = (),
        metadata: Mapping[str, str] | None = None,
        request_id: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = self.default_code if code is None else code
        self.reason = self.default_reason if reason is None else reason
        self.retry_after = retry_after
        self.field_violations = tuple(field_violations)
        self.metadata = dict(metadata or {})
        self.request_id = request_id


class RequestInvalid(LookalikeError):
    """A field of the request does not hold; `field_violations` says which."""

    default_code = grpc.StatusCode.INVALID_ARGUMENT
    default_reason = "REQUEST_INVALID"


class ImageUnreadable(RequestInvalid):
    """The bytes are no image, or a broken one."""

    default_reason = "IMAGE_UNREADABLE"


class ImageTooLarge(RequestInvalid):
    """The image has more than 20 MiB, or too many pixels."""

    default_reason = "IMAGE_TOO_LARGE"


class FilterMalformed(RequestInvalid):
    """The filter does not parse."""

    default_reason = "FILTER_MALFORMED"

    @property
    def position(self) -> int | None:
        """The character of the filter, counted from 0, where reading stopped; None when the server did not say."""
        position = self.metadata.get("position", "")
        return int(position) if position.isdecimal() else None


class PageTokenInvalid(RequestInvalid):
    """The page token was altered, or another field than the page token changed."""

    default_reason = "PAGE_TOKEN_INVALID"


class GarmentTokenInvalid(RequestInvalid):
    """The garment token was altered, has expired, or holds a vector of another version: search with the photo."""

    default_reason = "GARMENT_TOKEN_INVALID"


class RegionInvalid(RequestInvalid):
    """A region lies outside 0..1, has no area, or there are more than 16."""

    default_reason = "REGION_INVALID"


class NotFound(LookalikeError):
    """What the request names is not there."""

    default_code = grpc.StatusCode.NOT_FOUND


class ProductNotFound(NotFound):
    """No product of that name."""

    default_reason = "PRODUCT_NOT_FOUND"


class CatalogNotFound(NotFound):
    """No catalog of that name."""

    default_reason = "CATALOG_NOT_FOUND"


class ProductExists(LookalikeError):
    """A product of that name is there already; after a retry it may be the one that an earlier attempt made."""

    default_code = grpc.StatusCode.ALREADY_EXISTS
    default_reason = "PRODUCT_EXISTS"


class RevisionOutdated(LookalikeError):
    """The stored product is newer than the one that was sent."""

    default_code = grpc.StatusCode.ABORTED
    default_reason = "REVISION_OUTDATED"


class MessageTooLarge(LookalikeError):
    """The request has more than 32 MiB."""

    default_code = grpc.StatusCode.RESOURCE_EXHAUSTED


class Overloaded(LookalikeError):
    """The server has too much to do at the moment."""

    default_code = grpc.StatusCode.RESOURCE_EXHAUSTED
    default_reason = "OVERLOADED"


class QuotaExceeded(Overloaded):
    """The caller has used up its share."""

    default_reason = "QUOTA_EXCEEDED"


class Unavailable(LookalikeError):
    """The server cannot be reached, or a part of it is away."""

    default_code = grpc.StatusCode.UNAVAILABLE


class ModelUnavailable(Unavailable):
    """The models are away."""

    default_reason = "MODEL_UNAVAILABLE"


class IndexUnavailable(Unavailable):
    """The vector index is away."""

    default_reason = "INDEX_UNAVAILABLE"


class StoreUnavailable(Unavailable):
    """The catalog of record is away."""

    default_reason = "STORE_UNAVAILABLE"


class CredentialsInvalid(LookalikeError):
    """No credentials, or wrong ones."""

    default_code = grpc.StatusCode.UNAUTHENTICATED
    default_reason = "CREDENTIALS_INVALID"


class PermissionDenied(LookalikeError):
    """The credentials do not reach that far."""

    default_code = grpc.StatusCode.PERMISSION_DENIED
    default_reason = "PERMISSION_DENIED"


class DeadlineExceeded(LookalikeError):
    """The timeout was over before the answer was there."""

    default_code = grpc.StatusCode.DEADLINE_EXCEEDED
    default_reason = "DEADLINE_EXCEEDED"


class NotImplementedYet(LookalikeError):
    """The contract has it, this version of the server has not."""

    default_code = grpc.StatusCode.UNIMPLEMENTED
    default_reason = "NOT_IMPLEMENTED"


class ServerFault(LookalikeError):
    """A fault of the server; its log has the details."""

    default_code = grpc.StatusCode.INTERNAL
    default_reason = "INTERNAL"
