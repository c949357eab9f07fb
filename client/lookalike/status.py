"""google.rpc.Status and gRPC's own errors as the classes of errors.py, and back."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
from google.protobuf.message import DecodeError
from google.rpc import code_pb2, error_details_pb2, status_pb2

from lookalike.errors import FieldViolation, LookalikeError, MessageTooLarge

__all__ = ["REQUEST_ID_KEY", "error_from_rpc", "error_from_status", "status_from_error"]

STATUS_KEY = "grpc-status-details-bin"
REQUEST_ID_KEY = "x-request-id"


def _tree(root: type[LookalikeError]) -> Iterator[type[LookalikeError]]:
    yield root
    for child in root.__subclasses__():
        yield from _tree(child)


_BY_REASON = {kind.default_reason: kind for kind in _tree(LookalikeError) if kind.default_reason}
_BY_CODE = {kind.default_code: kind for kind in LookalikeError.__subclasses__() if kind is not MessageTooLarge}
_CODES = {code.value[0]: code for code in grpc.StatusCode}


def error_from_status(status: status_pb2.Status) -> LookalikeError:
    """The error that a google.rpc.Status describes, such as `ImportProductsResponse.error`."""
    code = _CODES.get(status.code, grpc.StatusCode.UNKNOWN)
    info = error_details_pb2.ErrorInfo()
    request = error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    retry_after: float | None = None
    for detail in status.details:
        if detail.Is(retry.DESCRIPTOR):
            detail.Unpack(retry)
            retry_after = retry.retry_delay.ToNanoseconds() / 1e9
        for target in (info, request):
            if detail.Is(target.DESCRIPTOR):
                detail.Unpack(target)
    kind = _BY_REASON.get(info.reason) or _kind_of_code(code, status.message)
    return kind(
        status.message or f"the server answered {code.name} without a word",
        code=code,
        reason=info.reason,
        retry_after=retry_after,
        field_violations=[FieldViolation(item.field, item.description) for item in request.field_violations],
        metadata=info.metadata,
    )


def _kind_of_code(code: grpc.StatusCode, message: str) -> type[LookalikeError]:
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in message:
        return MessageTooLarge
    return _BY_CODE.get(code, LookalikeError)


def error_from_rpc(rpc_error: grpc.aio.AioRpcError) -> LookalikeError:
    """The error that a call ended in, with the google.rpc.Status of its trailing metadata when there is one."""
    error = error_from_status(_status_of(rpc_error))
    said = dict(rpc_error.trailing_metadata() or ()).get(REQUEST_ID_KEY, "")
    error.request_id = said if isinstance(said, str) else ""
    return error


def _status_of(rpc_error: grpc.aio.AioRpcError) -> status_pb2.Status:
    details = rpc_error.details() or ""
    plain = status_pb2.Status(code=rpc_error.code().value[0], message=details)
    for key, value in rpc_error.trailing_metadata() or ():
        if key == STATUS_KEY and isinstance(value, bytes):
            try:
                status = status_pb2.Status.FromString(value)
            except DecodeError:
                continue
            # A proxy may answer in the server's place: the transport's code is the one that holds.
            if status.code == plain.code:
                return status
    return plain


def status_from_error(error: LookalikeError) -> status_pb2.Status:
    """The error as google.rpc.Status, for what the client itself refuses inside an import."""
    status = status_pb2.Status(code=code_pb2.Code.Value(error.code.name), message=error.message)
    if error.reason:
        info = error_details_pb2.ErrorInfo(reason=error.reason, domain="lookalike", metadata=error.metadata)
        status.details.add().Pack(info)
    return status
