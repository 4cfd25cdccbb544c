"""Sockets side by side."""

from __future__ import annotations

import socket
from contextlib import closing

import pytest

from focusd.sources.relay.sockets import bound_beside, listen_on_pair


def test_two_neighbours_are_found() -> None:
    """Port 0 takes two free ones in a row."""
    control, data = listen_on_pair("127.0.0.1", 0)

    with closing(control), closing(data):
        assert data.getsockname()[1] == control.getsockname()[1] + 1
        assert not control.getblocking()


def test_a_pair_with_one_port_taken_is_an_error() -> None:
    """Neither port stays open."""
    control, data = listen_on_pair("127.0.0.1", 0)
    port = control.getsockname()[1]
    control.close()

    with closing(data), pytest.raises(OSError, match="in use"):
        listen_on_pair("127.0.0.1", port)

    for each in listen_on_pair("127.0.0.1", port):
        each.close()


def test_a_host_that_is_none_of_ours_is_an_error() -> None:
    """Nobody can listen there."""
    with pytest.raises(OSError, match="assign"):
        listen_on_pair("192.0.2.1", 0)


def test_a_bound_socket_has_the_same_near_address() -> None:
    """Its port is its own."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as connected,
        closing(bound_beside(connected)) as beside,
    ):
        host, port = beside.getsockname()
        assert host == "127.0.0.1"
        assert port not in {0, connected.getsockname()[1]}


def test_nothing_is_bound_beside_a_closed_socket() -> None:
    """There is no address to be beside."""
    gone = socket.socket()
    gone.close()

    with pytest.raises(OSError, match=r"[Bb]ad file descriptor"):
        bound_beside(gone)
