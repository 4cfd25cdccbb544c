"""The client in one file over HTTPS, against a daemon whose certificate the test has made."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import focusd_client
import numpy as np
import pytest
import trustme

from focusd.api.server import serve_http
from focusd.config import HttpSettings
from focusd.store.database import open_store
from tests.fake_microscope import texture
from tests.unit.api.fake_supervisor import FakeSupervisor


@asynccontextmanager
async def secure_daemon(directory: Path) -> AsyncIterator[tuple[str, ssl.SSLContext]]:
    """Serve the interface over HTTPS; give its address, and whom to trust."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    certificate, key = directory / "cert.pem", directory / "key.pem"
    certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    settings = HttpSettings(port=0, certificate_file=certificate, private_key_file=key)
    async with open_store(directory / "state", max_frames=100) as store:
        supervisor = FakeSupervisor(store)
        async with serve_http(settings, supervisor) as url:
            yield url, trusting
        await supervisor.close()


async def test_a_frame_is_judged_over_https(tmp_path: Path) -> None:
    """Its size makes many records of TLS, and its answer is read to the end."""
    frame = texture(side=512).astype(np.uint8)
    async with secure_daemon(tmp_path) as (url, trusting):
        focusd = focusd_client.Client(url, tls=trusting)
        judgement = await asyncio.to_thread(focusd.judge, frame, wait_for_focus=False, pixel_size_nm=4.0)
        status = await asyncio.to_thread(focusd.status)

    assert url.startswith("https://")
    assert judgement.verdict == "learning"
    assert status.is_connected


async def test_a_certificate_that_is_not_trusted_is_named_at_once(tmp_path: Path) -> None:
    """Asking again would not help, so patience is not spent on it."""
    async with secure_daemon(tmp_path) as (url, _):
        focusd = focusd_client.Client(url, patience_s=3600.0)
        async with asyncio.timeout(10):
            with pytest.raises(focusd_client.StrangerError, match="certificate"):
                await asyncio.to_thread(focusd.status)


async def test_a_daemon_without_https_is_not_taken_for_one_with(tmp_path: Path) -> None:
    """An ``https`` address never falls back to speaking in the clear."""
    async with open_store(tmp_path / "state", max_frames=100) as store:
        supervisor = FakeSupervisor(store)
        async with serve_http(HttpSettings(port=0), supervisor) as url:
            focusd = focusd_client.Client(url.replace("http:", "https:"), patience_s=0.1)
            with pytest.raises(focusd_client.UnreachableError):
                await asyncio.to_thread(focusd.status)
        await supervisor.close()
