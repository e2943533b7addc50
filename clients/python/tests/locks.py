"""Which threads wait for each other."""

from __future__ import annotations

import threading
from types import TracebackType
from unittest import mock

_Lock = threading.Lock


class Locks:
    """In its `with` block every threading.Lock that is made counts the threads that wait for it."""

    def __init__(self) -> None:
        self._changed, self._waiting = threading.Condition(_Lock()), 0
        self._patch = mock.patch("threading.Lock", lambda: _Counted(self))

    def __enter__(self) -> Locks:
        self._patch.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._patch.stop()

    def count(self, more: int) -> None:
        with self._changed:
            self._waiting += more
            self._changed.notify_all()

    def wait_for(self, threads: int) -> bool:
        """Waits until so many wait at once, for a minute at most. Returns whether they do."""
        with self._changed:
            return self._changed.wait_for(lambda: self._waiting == threads, 60)


class _Counted:
    def __init__(self, locks: Locks) -> None:
        self._lock, self._locks = _Lock(), locks

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if self._lock.acquire(False):
            return True
        if not blocking:
            return False
        self._locks.count(1)
        try:
            return self._lock.acquire(True, timeout)
        finally:
            self._locks.count(-1)

    def release(self) -> None:
        self._lock.release()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()
