"""Bytes that are nobody else's business."""

from __future__ import annotations

import hmac
from types import TracebackType
from typing import NoReturn


class Secret(bytearray):
    """A key or value: a bytearray that does not show itself, and can be wiped.

    Use it in a `with` block, or call wipe(). It is wiped when it is collected, too, but Python does not say when. Copies
    that others made of it (bytes(secret), a slice, what a library keeps) are not wiped. It cannot be pickled or copied by
    the copy module. Comparing takes the same time for all contents of a length.
    """

    def wipe(self) -> None:
        """Overwrites it with zeros; its length stays."""
        self[:] = bytes(len(self))

    def __enter__(self) -> Secret:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.wipe()

    def __del__(self) -> None:
        self.wipe()

    def __repr__(self) -> str:
        return f"<Secret of {len(self)} bytes>"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (bytes, bytearray, memoryview)):
            return NotImplemented
        return hmac.compare_digest(self, other)

    def __ne__(self, other: object) -> bool:
        equal = self.__eq__(other)
        return equal if equal is NotImplemented else not equal

    __hash__ = None

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Secret cannot be pickled")
