"""A door before a server: it can be held shut, and it can speak TLS to the outside as PostgreSQL does."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

__all__ = ["Certificates", "Door", "door", "make_certificates"]


@dataclass(slots=True)
class Door:
    """Where the door is, and whether what comes is let through; what waits is let through on opening."""

    port: int
    passing: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files: of an authority, of a server that it knows as localhost, and of the server's key."""

    authority: Path
    server: Path
    key: Path


@contextlib.asynccontextmanager
async def door(port: int, *, certificates: Certificates | None = None) -> AsyncIterator[Door]:
    """Let connections through to a server on this machine during a `with` block; with certificates by TLS only."""
    context = None
    if certificates:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates.server, certificates.key)
    tasks: set[asyncio.Task[None]] = set()

    async def visit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(_closed, writer)
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                if context:
                    await reader.readexactly(8)  # SSLRequest
                    writer.write(b"S")
                    await writer.start_tls(context)
                inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
                stack.push_async_callback(_closed, inner_writer)
                async with asyncio.TaskGroup() as group:
                    group.create_task(_carried(reader, inner_writer, found.passing))
                    group.create_task(_carried(inner_reader, writer, found.passing))
        tasks.discard(task)

    server = await asyncio.start_server(visit, "127.0.0.1", 0)
    found = Door(server.sockets[0].getsockname()[1])
    found.passing.set()
    try:
        yield found
    finally:
        server.close()
        left = list(tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


async def _carried(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passing: asyncio.Event) -> None:
    with contextlib.suppress(OSError):
        while content := await reader.read(65536):
            await passing.wait()
            writer.write(content)
            await writer.drain()
        await passing.wait()
    writer.close()


async def _closed(writer: asyncio.StreamWriter) -> None:
    # A farewell by TLS would wait half a minute for somebody who is gone.
    writer.transport.abort()
    with contextlib.suppress(OSError, asyncio.CancelledError):
        await asyncio.wait_for(writer.wait_closed(), 2)


def make_certificates(folder: Path) -> Certificates:
    """An authority and a server's certificate, valid for an hour."""
    authority_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority, host = _name("authority of the tests"), _name("localhost")
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    root = _certificate(
        authority, authority_key, authority, x509.BasicConstraints(ca=True, path_length=0), authority_key
    )
    leaf = _certificate(host, server_key, authority, names, authority_key)
    found = Certificates(folder / "authority.pem", folder / "server.pem", folder / "server.key")
    found.authority.write_bytes(root.public_bytes(serialization.Encoding.PEM))
    found.server.write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
    found.key.write_bytes(
        server_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return found


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificate(
    subject: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    extension: x509.ExtensionType,
    signer: ec.EllipticCurvePrivateKey,
) -> x509.Certificate:
    now = datetime.datetime.now(tz=datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        .sign(signer, hashes.SHA256())
    )
