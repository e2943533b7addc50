"""What can go wrong with a call. Every error is a KmsError.

No text or attribute of an error holds a key, a value, or the name of one. The words of a node are bounded and printable.
"""

from __future__ import annotations

from collections.abc import Callable

_MAX_WORDS = 300  # characters of a message that comes from a node


def printable(text: str) -> str:
    """A text of somebody else as one bounded line, fit for a terminal."""
    short = text if len(text) <= _MAX_WORDS else text[:_MAX_WORDS] + "..."
    return "".join(c if c.isprintable() and c.isascii() else c.encode("unicode_escape", "replace").decode() for c in short)


class KmsError(Exception):
    """The base of all errors.

    sent: whether a node may have got the operations.
    """

    def __init__(self, message: str, *, sent: bool = False) -> None:
        super().__init__(message)
        self.sent = sent

    def __reduce__(self) -> tuple[Callable[..., KmsError], tuple[object, ...]]:
        """Errors can be pickled and copied: a copy has no traceback, and so none of what the frames of calls hold."""
        return _restore, (type(self), self.args, self.__dict__)


def _restore(kind: type[KmsError], arguments: tuple[object, ...], members: dict[str, object]) -> KmsError:
    error = kind.__new__(kind, *arguments)
    error.__dict__.update(members)
    return error


class InvalidRequest(KmsError, ValueError):
    """The caller's mistake: an argument that no node takes. Nothing was sent."""


class Refused(KmsError):
    """The node has refused the operation.

    status, code: docs/protocol.md section 2. authentic: False in version 1, whose refusals are not signed, so that anybody
    on the way could have sent this one.
    """

    def __init__(self, status: int, code: str, message: str, *, authentic: bool, sent: bool = True) -> None:
        super().__init__(printable(f"HTTP {status} {code}: {message}"), sent=sent)
        self.status = status
        self.code = printable(code)
        self.authentic = authentic


class NotFound(Refused):
    """There is no such record."""


class Unavailable(KmsError):
    """No node took it: no connection, no complete answer in time, or nodes that are busy.

    status: 429 or 503 where a node said it, else None. retry_after_s: how long it asks to wait, or None. authentic: whether
    it is in a sealed answer. A put or delete that a node refuses with 503 in such an answer may have been made there, with
    fewer copies than the node is to have (WRITE_STRICT).
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        retry_after_s: int | None = None,
        authentic: bool = False,
        sent: bool = False,
    ) -> None:
        super().__init__(message, sent=sent)
        self.status = status
        self.retry_after_s = retry_after_s
        self.authentic = authentic


class Timeout(Unavailable):
    """The node has not answered in time."""


class NoSession(KmsError):
    """There is no session, or plain answers came in one: they prove nothing. And version 1 may not be spoken.

    http_status: of the plain answer.
    """

    def __init__(self, message: str, *, http_status: int | None = None, sent: bool = False) -> None:
        super().__init__(message, sent=sent)
        self.http_status = http_status


class OutcomeUnknown(KmsError):
    """A put or delete whose answer did not come, or is not provably the node's: it may have been done or not."""

    def __init__(self, message: str) -> None:
        super().__init__(message, sent=True)


class ProtocolViolation(KmsError):
    """What came is not provably the node's answer to this request, or not what the protocol allows."""
