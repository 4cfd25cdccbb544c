"""Spread jobs over processes."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

import cv2

Job = TypeVar("Job")
Answer = TypeVar("Answer")


def spread(work: Callable[[Job], Answer], jobs: Sequence[Job], *, processes: int) -> list[Answer]:
    """Do all jobs, in order; in this very process when ``processes`` is 1.

    Processes are forked, so they share what was built before (specimens). Each uses one thread: the measured
    processor time is that of the work.
    """
    cv2.setNumThreads(1)
    if processes <= 1:
        return [work(job) for job in jobs]
    answers: list[Answer] = []
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("fork")) as executor:
        for answer in executor.map(work, jobs, chunksize=1):
            answers.append(answer)
            _show_progress(len(answers), len(jobs))
    return answers


def _show_progress(done: int, all_of_them: int) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{done} of {all_of_them}" + ("\r\033[K" if done == all_of_them else ""))
        sys.stderr.flush()
