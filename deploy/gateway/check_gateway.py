"""Ask the gateway's standard gRPC health service, inside its container; exits 0 when it says SERVING."""

from __future__ import annotations

import os
import sys
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

# Shorter than the health check's own timeout, so that the reason can be printed.
TIMEOUT_SECONDS = 4.0


def check(address: str) -> str:
    """Return why the server at `address` (host:port) cannot serve; an empty string when it can."""
    with grpc.insecure_channel(address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_SECONDS)
        except grpc.RpcError as error:
            return f"{address} does not answer: {error}"
    if answer.status == health_pb2.HealthCheckResponse.SERVING:
        return ""
    return f"{address} says {health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)}"


if __name__ == "__main__":
    problem = check(os.environ.get("HEALTHCHECK_ADDRESS", "127.0.0.1:50051"))
    if problem:
        sys.exit(problem)
