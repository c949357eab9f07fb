"""Why a server cannot be reached, in words that say what to do; gRPC's own are for those who know its insides."""

from __future__ import annotations

import re

__all__ = ["check_target", "unreachable"]

# What gRPC's details hold, and what it means. The command's options are named beside the client's.
CAUSES = (
    ("WRONG_VERSION_NUMBER", "what listens there does not speak TLS; connect without credentials (without --tls)"),
    (
        "CERTIFICATE_VERIFY_FAILED",
        "no authority that is trusted here has signed its certificate; name the one that has, as root_certificates of "
        "the credentials (--ca-file)",
    ),
    (
        "Hostname Verification Check failed",
        "its certificate is for another name; call it by that name, or give it as the channel option "
        "grpc.ssl_target_name_override (--server-name)",
    ),
    ("Failed to create security handshaker", "the certificates or the key cannot be used; they must be PEM files"),
    ("Socket closed", "it hung up; if it wants TLS, connect with credentials (--tls)"),
    ("Connection reset", "it hung up; if it wants TLS, connect with credentials (--tls)"),
    ("Domain name not found", "there is no host of that name"),
)
SCHEME = re.compile(r"(unix|unix-abstract|dns|ipv4|ipv6|xds|vsock):")
HOST_AND_PORT = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\s:/\[\]]+):[0-9]{1,5}")


def unreachable(target: str, details: str) -> str:
    """The sentence for a target where no server has answered."""
    for sign, cause in CAUSES:
        if sign in details:
            return f"cannot reach a server at {target}: {cause}"
    said = "connection refused" if "Connection refused" in details else details
    return f"cannot reach a server at {target}; is it running there?" + (f" ({said})" if said else "")


def check_target(target: str) -> None:
    """Raises ValueError for what is no address of a gRPC server, and would only be found out when time is over."""
    if not SCHEME.match(target) and not HOST_AND_PORT.fullmatch(target):
        raise ValueError(f"{target!r} is no address of a server; write HOST:PORT, such as 127.0.0.1:50051")
