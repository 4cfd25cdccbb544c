"""HTTPS, and a socket file in place of an address."""

from __future__ import annotations

import asyncio
import ssl
import stat
from pathlib import Path

import aiohttp
import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from focusd.api.server import serve_http
from focusd.cli.http import DaemonClient
from focusd.client import Client
from focusd.config import HttpSettings
from focusd.errors import ConfigError
from tests.unit.api.fake_supervisor import FakeSupervisor


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Somebody who signs certificates."""
    return trustme.CA()


def https(authority: trustme.CA, directory: Path) -> HttpSettings:
    """Settings of an endpoint for loopback that speaks HTTPS."""
    issued = authority.issue_cert("localhost", "127.0.0.1")
    certificate, key = directory / "cert.pem", directory / "key.pem"
    certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    return HttpSettings(port=0, certificate_file=certificate, private_key_file=key)


async def test_who_trusts_the_authority_is_answered(
    supervisor: FakeSupervisor, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command line trusts what OpenSSL's environment variable names."""
    pem = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(pem))
    trusting = ssl.create_default_context(cafile=str(pem))
    async with serve_http(https(authority, tmp_path), supervisor) as url:
        assert url.startswith("https://127.0.0.1:")
        async with aiohttp.ClientSession() as session, session.get(f"{url}/v1/status", ssl=trusting) as reply:
            assert reply.status == 200
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
        status = await asyncio.to_thread(DaemonClient(url).get, "/v1/status")
        async with Client(url, tls=trusting) as client:
            assert (await client.status()).state == status["state"]


async def test_who_does_not_speak_https_is_not_answered(
    supervisor: FakeSupervisor, authority: trustme.CA, tmp_path: Path
) -> None:
    """Neither in the clear nor to a client that does not trust the certificate; others are served on."""
    async with serve_http(https(authority, tmp_path), supervisor) as url, aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError):
            await session.get(url.replace("https", "http") + "/v1/status")
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await session.get(f"{url}/v1/status")
        trusting = ssl.create_default_context()
        authority.configure_trust(trusting)
        async with session.get(f"{url}/v1/status", ssl=trusting) as reply:
            assert reply.status == 200


@pytest.mark.parametrize("broken", ["certificate_file", "private_key_file"])
async def test_a_certificate_that_cannot_be_used_is_named(
    supervisor: FakeSupervisor, authority: trustme.CA, tmp_path: Path, broken: str
) -> None:
    """The daemon does not start without the encryption it was told to use."""
    settings = https(authority, tmp_path)
    for content in (b"nothing of the kind", None):
        path = getattr(settings, broken)
        path.write_bytes(content) if content else path.unlink()
        with pytest.raises(ConfigError, match=r"http\.certificate_file and http\.private_key_file"):
            async with serve_http(settings, supervisor):
                pytest.fail("it started")


async def test_a_locked_key_is_refused_without_asking(
    supervisor: FakeSupervisor, authority: trustme.CA, tmp_path: Path
) -> None:
    """A daemon has nobody to ask for a password."""
    settings = https(authority, tmp_path)
    assert settings.private_key_file is not None
    key = settings.private_key_file.read_bytes()
    locked = serialization.load_pem_private_key(key, None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    settings.private_key_file.write_bytes(locked)
    with pytest.raises(ConfigError, match=r"http\.private_key_file"):
        async with serve_http(settings, supervisor):
            pytest.fail("it started")


async def test_a_socket_file_leads_to_the_same_daemon(supervisor: FakeSupervisor, tmp_path: Path) -> None:
    """Its mode keeps others out; it is gone at the end, and one that was left over is no hindrance."""
    path = tmp_path / "focusd.sock"
    settings = HttpSettings(port=0, unix_socket=path)
    for _ in range(2):
        async with serve_http(settings, supervisor):
            assert stat.S_IMODE(path.stat().st_mode) == 0o660
            status = await asyncio.to_thread(DaemonClient(f"unix:{path}").get, "/v1/status")
            async with Client(f"unix:{path}") as client:
                assert (await client.status()).state == status["state"]
            left_over = path.with_suffix(".old")
            left_over.unlink(missing_ok=True)
            left_over.hardlink_to(path)
        assert not path.exists()
        left_over.rename(path)


async def test_a_socket_file_in_use_is_left_alone(supervisor: FakeSupervisor, tmp_path: Path) -> None:
    """Two daemons do not take each other's clients; nor is a file that is no socket removed."""
    path = tmp_path / "focusd.sock"
    settings = HttpSettings(port=0, unix_socket=path)
    async with serve_http(settings, supervisor):
        with pytest.raises(OSError, match=r"http\.unix_socket"):
            async with serve_http(settings, supervisor):
                pytest.fail("it started")
        await asyncio.to_thread(DaemonClient(f"unix:{path}").get, "/v1/status")
    path.write_text("somebody's notes")
    with pytest.raises(OSError, match=r"http\.unix_socket"):
        async with serve_http(settings, supervisor):
            pytest.fail("it started")
    assert path.read_text() == "somebody's notes"
