"""Tell systemd how the daemon is: READY, STATUS, WATCHDOG, STOPPING (see sd_notify(3)).

Nothing here raises: a daemon does not end because its supervisor cannot be told. Each call gives ``False``
when its message did not get through, and ``True`` also when there is nobody to tell.
"""

from __future__ import annotations

import socket

# systemd reads at most 4,096 bytes of a message.
_MAX_STATUS_BYTES = 2048
_DEADLINE_S = 0.1


class Notifier:
    """Sends to the socket named by ``NOTIFY_SOCKET``.

    Args:
        address: A path, a name in the abstract namespace (``@name``), or ``None`` when not run by systemd.
    """

    def __init__(self, address: str | None) -> None:
        self._address = address

    def ready(self) -> bool:
        """Start-up is complete."""
        return self._send(b"READY=1")

    def status(self, text: str) -> bool:
        """Show one line of text in ``systemctl status``."""
        line = " ".join(text.replace("\0", " ").split()).encode("utf-8", "replace")[:_MAX_STATUS_BYTES]
        return self._send(b"STATUS=" + line.decode("utf-8", "ignore").encode())

    def watchdog(self) -> bool:
        """The daemon makes progress."""
        return self._send(b"WATCHDOG=1")

    def stopping(self) -> bool:
        """Shutdown has begun."""
        return self._send(b"STOPPING=1")

    def extend_timeout_usec(self, microseconds: int) -> bool:
        """Ask for so much more time to start or stop, counted from now."""
        return self._send(b"EXTEND_TIMEOUT_USEC=%d" % microseconds)

    def _send(self, message: bytes) -> bool:
        if not self._address:
            return True
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.settimeout(_DEADLINE_S)
                sender.sendto(message, address)
        except (OSError, ValueError):
            return False
        return True


def watchdog_interval_s(watchdog_usec: str | None, watchdog_pid: str | None, pid: int) -> float | None:
    """Give the longest pause that systemd allows between two ``watchdog`` calls; call three times as often.

    Args:
        watchdog_usec: The environment's ``WATCHDOG_USEC``.
        watchdog_pid: The environment's ``WATCHDOG_PID``; the watchdog is another process's if it is not ours.
        pid: Our process id.

    Returns:
        Seconds; ``None`` when there is no watchdog for us.
    """
    if watchdog_pid and watchdog_pid.strip() != str(pid):
        return None
    if not watchdog_usec or not watchdog_usec.strip().isdecimal() or int(watchdog_usec) == 0:
        return None
    return int(watchdog_usec) / 1e6
