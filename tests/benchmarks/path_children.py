"""Processes beside a benchmark: those that serve until the end, and those that work when told to.

Each has the interpreter to itself, so that what is measured in one does not wait for the work of another.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_FORK = multiprocessing.get_context("fork")


@dataclass(frozen=True, slots=True)
class Server:
    """A process that serves."""

    port: int
    process_id: int

    @property
    def cpu_s(self) -> float:
        """Processor time it has had, of all threads, in steps of the kernel's ticks."""
        fields = Path(f"/proc/{self.process_id}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def serving(serve: Callable[..., None], *arguments: Any) -> Iterator[int]:
    """Run ``serve(tell, *arguments)`` in a process of its own; give the port it tells."""
    with server(serve, *arguments) as one:
        yield one.port


@contextmanager
def server(serve: Callable[..., None], *arguments: Any) -> Iterator[Server]:
    """Do as ``serving``, and give the process too."""
    ours, theirs = _FORK.Pipe()
    with _running(serve, theirs.send, *arguments) as process:
        if not ours.poll(60):
            raise TimeoutError(f"{serve.__name__} did not begin to serve")
        yield Server(int(ours.recv()), process.pid or 0)


class Worker(Generic[T]):
    """A process that calls ``work`` whenever it is called itself."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def __call__(self, *arguments: Any) -> T:
        """Give what ``work`` gives.

        Raises:
            RuntimeError: it raised something.
        """
        self._pipe.send(arguments)
        answer, error = self._pipe.recv()
        if error:
            raise RuntimeError(error)
        result: T = answer
        return result


@contextmanager
def working(work: Callable[..., T]) -> Iterator[Worker[T]]:
    """Have a worker for the length of a ``with`` block."""
    ours, theirs = _FORK.Pipe()
    with _running(_work, theirs, work):
        yield Worker(ours)


def _work(pipe: Connection, work: Callable[..., object]) -> None:
    while True:
        arguments = pipe.recv()
        try:
            answer = work(*arguments), ""
        except Exception as error:  # noqa: BLE001 - raised again by whoever asked
            answer = None, f"{type(error).__name__}: {error}"
        pipe.send(answer)


@contextmanager
def _running(target: Callable[..., None], *arguments: Any) -> Iterator[BaseProcess]:
    process = _FORK.Process(target=target, args=arguments, daemon=True)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()
