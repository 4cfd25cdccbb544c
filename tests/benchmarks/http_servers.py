"""focusd in a process of its own: the daemon, by HTTP or as a relay; the endpoint with the score alone."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import cv2
import structlog

from focusd.api.server import serve_http
from focusd.api.verbs import Verbs
from focusd.config import Config, HttpSettings
from focusd.daemon import running
from focusd.focus.laplacian import laplacian_variance
from focusd.frame import Frame
from focusd.records import FrameVerdict, Verdict
from focusd.service.status import Status
from focusd.service.supervisor import initial_board
from focusd.service.workers import Workers
from tests.benchmarks.path_senders import two_ports


def config(state: str, **sections: object) -> Config:
    """Give the settings of a daemon whose frames are POSTed; a verdict needs no microscope."""
    return Config.model_validate(
        {
            "microscope": {"port": 1, "limits": {"working_distance_mm": [4.0, 30.0]}},
            "frames": {"source": "push"},
            "baseline": {"policy": "learn", "learn_frames": 1},
            "refocus": {"depth_of_field_um": 2.0},
            "http": {"port": 0},
            "store": {"directory": state},
            **sections,
        }
    )


def serve_daemon(tell: Callable[[int], None]) -> None:
    """Run the whole daemon, as ``focusd run`` does."""
    cv2.setNumThreads(1)

    async def serve() -> None:
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
        with tempfile.TemporaryDirectory() as state:
            async with running(config(state)) as daemon:
                tell(_port(daemon.url))
                await asyncio.Event().wait()

    asyncio.run(serve())


def serve_relay(tell: Callable[[int], None], microscope_port: int) -> None:
    """Run the whole daemon as a relay to a microscope."""

    async def serve() -> None:
        cv2.setNumThreads(1)
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
        with tempfile.TemporaryDirectory() as state:
            control, data = two_ports()
            port = control.getsockname()[1]
            control.close()
            data.close()
            relayed = {
                "frames": {"source": "relay"},
                "relay": {"listen": f"127.0.0.1:{port}"},
                "microscope": {"port": microscope_port, "limits": {"working_distance_mm": [4.0, 30.0]}},
            }
            async with running(config(state, **relayed)):
                tell(port)
                await asyncio.Event().wait()

    asyncio.run(serve())


class _ScoreAlone:
    """Gives a verdict of nothing but the published score; what of ``Verbs`` a frame and the status need."""

    def __init__(self, status: Status) -> None:
        self.status = status
        self._verdict = FrameVerdict(
            frame_id=1,
            acquired_at=0.0,
            verdict=Verdict.LEARNING,
            condition="",
            reason=None,
            metric="laplacian_variance",
            sharpness=None,
            sharpness_standard_error=None,
            baseline_sharpness=None,
            ratio=None,
            laplacian_variance=None,
            signal_to_noise=None,
            saturated_fraction=None,
            working_distance_mm=None,
            stage_position=None,
        )

    async def judge(self, frame: Frame, **_: Any) -> tuple[FrameVerdict, None]:
        score = await asyncio.to_thread(laplacian_variance, frame.pixels)
        return replace(self._verdict, laplacian_variance=score), None


def serve_score(tell: Callable[[int], None]) -> None:
    """Run the endpoint alone: frames come in the same way, and are only scored."""
    cv2.setNumThreads(1)

    async def serve() -> None:
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
        asyncio.get_running_loop().set_default_executor(Workers())
        verbs = cast("Verbs", _ScoreAlone(initial_board(config("state")).current))
        async with serve_http(HttpSettings(port=0), verbs) as url:
            tell(_port(url))
            await asyncio.Event().wait()

    asyncio.run(serve())


def _port(url: str) -> int:
    return int(url.rsplit(":", 1)[1])
