"""Frames that the microscope tells of by itself are judged, and subscribed to at each connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import structlog

from focusd.config import Config
from focusd.errors import LinkError, StoreError
from focusd.microscope.interface import Microscope
from focusd.microscope.observed import TellsFrames
from focusd.service.supervisor import Supervisor
from focusd.sources.stream import FrameStream

Connect = Callable[[], AbstractAsyncContextManager[Microscope]]


def stream_of(config: Config) -> FrameStream | None:
    """Give the stream of a configuration that has one."""
    return FrameStream(config.stream) if config.frames.source == "stream" else None


def subscribing(connect: Connect, stream: FrameStream | None) -> Connect:
    """Give a way to connect that subscribes to the stream too, if there is one."""
    if stream is None:
        return connect

    @asynccontextmanager
    async def connect_and_subscribe() -> AsyncIterator[Microscope]:
        async with connect() as microscope:
            if not isinstance(microscope, TellsFrames):
                raise LinkError(
                    "this microscope's driver cannot tell of frames that others take, as "
                    'frames.source = "stream" needs'
                )
            await microscope.subscribe(stream, most_bytes=stream.most_bytes)
            stream.subscribed(microscope.ping)
            try:
                yield microscope
            finally:
                stream.unsubscribed()

    return connect_and_subscribe


@asynccontextmanager
async def taking_stream(stream: FrameStream | None, supervisor: Supervisor) -> AsyncIterator[None]:
    """Judge what the stream brings, if there is one, for the length of an ``async with`` block."""
    if stream is None:
        yield
        return
    stream.on_change = lambda status: supervisor.board.update(stream=status)
    supervisor.board.update(stream=stream.status)
    supervisor.turns.catch_up = stream.caught_up
    async with asyncio.TaskGroup() as group:
        judge = group.create_task(judge_stream(stream, supervisor), name="judge of observed frames")
        try:
            yield
        finally:
            judge.cancel()


async def judge_stream(stream: FrameStream, supervisor: Supervisor) -> None:
    """Judge the frames of a stream for ever; a frame whose verdict cannot be kept is lost, not the next."""
    while True:
        observed = await stream.get()
        try:
            with structlog.contextvars.bound_contextvars(observed_frame=observed.name):
                await supervisor.judge(observed.frame)
        except StoreError as error:
            stream.store_failed(str(error))
        else:
            stream.judged(observed)
