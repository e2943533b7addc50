"""Looks up host names within a time: the system's look-up knows none."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import Future
from typing import Any, TypeAlias

Address: TypeAlias = tuple[int, int, int, str, Any]
"""As socket.getaddrinfo gives it."""


class Resolver:
    """The addresses of one host and port. A look-up that is too slow goes on in a thread of its own, since nothing can end it:
    there is one at a time, and who comes meanwhile waits for the same one. Threads: any.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._lock = threading.Lock()
        self._running: Future[list[Address] | str] | None = None

    def addresses(self, timeout_s: float) -> list[Address]:
        """Raises TimeoutError, and OSError with the reason where there are none."""
        try:
            return self._ask(socket.AI_NUMERICHOST)  # waits for nobody
        except (OSError, UnicodeError):
            pass
        found = self._start().result(timeout_s)
        if isinstance(found, str):
            raise OSError(found)
        return found

    def _ask(self, flags: int = 0) -> list[Address]:
        return list(socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM, flags=flags))

    def _start(self) -> Future[list[Address] | str]:
        with self._lock:
            if self._running is None:
                running: Future[list[Address] | str] = Future()
                try:
                    # A daemon: it keeps no process from its end.
                    threading.Thread(target=self._run, args=(running,), name="nova-kms look-up", daemon=True).start()
                except RuntimeError:
                    raise OSError("no thread to look up the name") from None
                self._running = running
            return self._running

    def _run(self, running: Future[list[Address] | str]) -> None:
        found: list[Address] | str = "the look-up of the name failed"
        try:
            found = self._ask()
        except (OSError, UnicodeError) as error:
            found = getattr(error, "strerror", None) or "the name is none"
        finally:
            with self._lock:
                self._running = None
            running.set_result(found)
