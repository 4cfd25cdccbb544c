"""What has become of the link, on the status board and in the log: one line for each change."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import structlog

from focusd.errors import LinkError
from focusd.microscope.connection import LinkState
from focusd.microscope.interface import Microscope
from focusd.service.board import StatusBoard

_log = structlog.get_logger(__name__)


class LinkWatch:
    """Publishes the state of the link.

    Args:
        board: Where it stands.
    """

    def __init__(self, board: StatusBoard) -> None:
        self._board = board

    def up(self, microscope: Microscope) -> None:
        """Note a new connection."""
        link = self._board.current.link
        _log.info("link_up", address=link.address, microscope=microscope.identity)
        self._board.update(
            microscope=microscope.identity,
            limits_mm=microscope.limits_mm,
            link=replace(link, connected=True, state=LinkState.CONNECTED, since=time.time(), error=None),
        )

    def overdue(self, is_overdue: bool) -> None:
        """Note that an answer is overdue, or that one has come after all."""
        link = self._board.current.link
        if not link.connected:
            return
        if is_overdue:
            _log.warning("link_unresponsive", address=link.address)
        else:
            _log.info("link_responsive", address=link.address)
        self._update(state=LinkState.UNRESPONSIVE if is_overdue else LinkState.CONNECTED)

    def down(self, error: LinkError) -> None:
        """Note that the connection is lost, or could not be made.

        One line an outage: the first failure says why, the attempts that follow are silent.
        """
        link = self._board.current.link
        is_news = link.connected or link.error is None
        if is_news:
            _log.warning("link_down", address=link.address, error=str(error))
        self._update(
            connected=False,
            state=LinkState.DISCONNECTED,
            since=time.time() if is_news else link.since,
            error=str(error),
            reconnects=link.reconnects + link.connected,
        )

    def stopped(self) -> None:
        """Note that focusd itself has ended the connection, for good."""
        link = self._board.current.link
        if link.connected:
            _log.info("link_stopped", address=link.address)
        self._update(connected=False, state=LinkState.STOPPED, error="focusd has stopped")

    def _update(self, **changes: Any) -> None:  # noqa: ANN401 - the link's own fields, checked by replace
        link = replace(self._board.current.link, **changes)
        if link.connected:
            self._board.update(link=link)
        else:
            self._board.update(column=None, link=replace(link, round_trip_s=None))
