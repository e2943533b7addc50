"""Brings operations to a node: chooses it among several, sends a message again or to the next node where that is allowed,
and says what came of each operation (docs/protocol.md section 15.5).
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ._codec import Json, Malformed
from ._http import MAX_WAIT_S
from ._node import BUSY, NodeClient
from ._session import MAX_OPERATIONS
from ._sessions import Session, Sessions
from .errors import (
    KmsError,
    NoSession,
    NotFound,
    OutcomeUnknown,
    ProtocolViolation,
    Refused,
    Timeout,
    Unavailable,
)
from .operations import Operation, Result, is_write

MOST_SENDS = 4  # of a message: once, and three times again
_UNSURE = (500, 502, 504)  # in version 1, of a fault or a gateway: the operation may have been done
_SAME_NODE = (400, 409, 410)  # plain answers about the session, not about the node
_PAUSE_S = 0.05  # before the only node is called again, doubled each time
_REST_S, _MOST_REST_S = 1.0, 60.0  # how long a node in trouble is called after the others only

Outcome: TypeAlias = Result | KmsError


class Entry:
    """A node among several, with its sessions."""

    def __init__(self, node: NodeClient, sessions: Sessions) -> None:
        self.node, self.sessions = node, sessions
        self._troubles, self._rests_until = 0, 0.0

    def rests(self) -> bool:
        return time.monotonic() < self._rests_until

    def trouble(self) -> None:
        rest = min(_REST_S * 2**self._troubles, _MOST_REST_S)
        self._troubles = min(self._troubles + 1, 10)
        self._rests_until = time.monotonic() + rest * random.uniform(0.5, 1)

    def fine(self) -> None:
        self._troubles, self._rests_until = 0, 0.0


@dataclass(frozen=True)
class _Sent:
    """What came of sending a message once: outcomes, or a failure and whether it may be sent again."""

    outcomes: list[Outcome] | None = None
    failure: KmsError | None = None
    again: bool = False


class Delivery:
    """Threads: any."""

    def __init__(self, entries: Callable[[], Sequence[Entry]], *, retry_writes: bool) -> None:
        """entries: the nodes that there are now, at least one."""
        self._entries, self._retry_writes = entries, retry_writes
        self._lock, self._at = threading.Lock(), ""
        self._last: list[Entry] = []  # the nodes that there were when one was chosen last

    # ---- nodes ----

    def _order(self, entries: list[Entry]) -> list[Entry]:
        """The current node first, then those behind it; those that rest come last."""
        at = next((i for i, entry in enumerate(entries) if entry.node.url == self._at), 0)
        turned = entries[at:] + entries[:at]
        # The current node stays first: whoever has trouble with it moves on.
        return turned[:1] + sorted(turned[1:], key=Entry.rests)

    def _next(self, entry: Entry) -> None:
        """Leaves a node that is in trouble, unless somebody else has."""
        entry.trouble()
        order = self._order(self._last)
        with self._lock:
            if len(order) > 1 and order[0] is entry:
                self._at = order[1].node.url

    def usable(self) -> tuple[Entry, Session | None]:
        """A node that can be sent operations. Where it raises, nothing was sent."""
        failure: KmsError = Unavailable("there is no node")
        self._last = list(self._entries())
        for entry in self._order(self._last):
            try:
                return entry, entry.sessions.ready()
            except KmsError as error:
                error.sent = False
                failure = error
            self._next(entry)
        raise failure

    def room(self) -> int:
        """How many operations a message may hold; opens a session where there is none."""
        _, session = self.usable()
        return MAX_OPERATIONS if session is None else session.keys.max_operations

    # ---- one message ----

    def run(self, operations: Sequence[Operation], text: bytes) -> list[Outcome]:
        """Sends operations as one message, and again where that is allowed.

        text: the message's JSON. Raises where no authentic answer came; `sent` says whether it may have been done.
        """
        last: KmsError | None = None
        for sends in range(1, MOST_SENDS + 1):
            try:
                entry, session = self.usable()
            except KmsError as error:
                raise last or error from None
            sent = self._send(entry, session, operations, text, sends)
            if sent.outcomes is not None:
                entry.fine()
                return _after_loss(sent.outcomes, operations) if last is not None and last.sent else sent.outcomes
            assert sent.failure is not None
            # Once it may have been done, a later try that was not sent does not make it undone.
            sent.failure.sent = sent.failure.sent or (last is not None and last.sent)
            last = sent.failure
            if not sent.again:
                raise last
            self._move_on(entry, last, sends)
        assert last is not None
        raise last

    def _move_on(self, entry: Entry, failure: KmsError, sends: int) -> None:
        plain = failure.http_status if isinstance(failure, NoSession) else None
        if plain in _SAME_NODE and sends == 1:
            return
        if len(self._last) > 1:
            self._next(entry)
        elif sends < MOST_SENDS:
            time.sleep(_PAUSE_S * 2**sends * random.uniform(0.5, 1))

    def _send(self, entry: Entry, session: Session | None, operations: Sequence[Operation], text: bytes, sends: int) -> _Sent:
        writes = any(map(is_write, operations))
        several = len(self._last) > 1 and sends < MOST_SENDS
        if session is None:
            outcomes = _call_v1(entry.node, operations)
            first = outcomes[0]
            if several and isinstance(first, Unavailable) and first.status is None:
                return _Sent(failure=first, again=True)
            return _Sent(outcomes)
        try:
            answer = entry.sessions.exchange(session, text)
            results = _read_answer(answer, operations)
        except Malformed as error:
            entry.sessions.give_up(session)
            failure: KmsError = ProtocolViolation(f"{entry.node.url}: not the results of these operations: {error}", sent=True)
            return _Sent(failure=failure, again=self._may_repeat(failure, sends, writes))
        except KmsError as error:
            return _Sent(failure=error, again=self._may_repeat(error, sends, writes))
        # A write that a busy node refused may have been made there, without enough copies.
        elsewhere = several and (not writes or self._retry_writes)
        if elsewhere and all(isinstance(result, Unavailable) for result in results):
            first_result = results[0]
            assert isinstance(first_result, Unavailable)
            return _Sent(failure=first_result, again=True)
        return _Sent(results)

    def _may_repeat(self, failure: KmsError, sends: int, writes: bool) -> bool:
        """Whether a message whose answer did not come may be sent again."""
        if sends >= MOST_SENDS or (writes and failure.sent and not self._retry_writes):
            return False
        if len(self._last) > 1:
            return True
        # The only node there is: asked again at once where that can help.
        return not isinstance(failure, Timeout) and not (isinstance(failure, Unavailable) and failure.status)


# ---- outcomes ---------------------------------------------------------------------------------------------------


def failed(operation: Operation, why: KmsError) -> KmsError:
    """What a failure of a message means for one of its operations."""
    if not is_write(operation) or not why.sent:
        return why
    return why if isinstance(why, OutcomeUnknown) else OutcomeUnknown(f"the outcome is not known: {why}")


def _after_loss(outcomes: list[Outcome], operations: Sequence[Operation]) -> list[Outcome]:
    """What came of operations that were sent before, when no answer came: a write that fails now may have been done then."""
    known: list[Outcome] = []
    for outcome, operation in zip(outcomes, operations, strict=True):
        if isinstance(outcome, KmsError):
            outcome.sent = True
            outcome = failed(operation, outcome)
        known.append(outcome)
    return known


def _read_answer(answer: Json, operations: Sequence[Operation]) -> list[Outcome]:
    """One object for a single operation, or an array of as many; one object for several refuses them all."""
    if isinstance(answer, dict):
        if len(operations) == 1:
            return [_outcome(operations[0], answer)]
        if _status(answer) == 200:
            raise Malformed("one result for several operations")
        return [_refused(answer) for _ in operations]
    if not isinstance(answer, list) or len(operations) == 1 or len(answer) != len(operations):
        raise Malformed("another number of results")
    return [_outcome(operation, item) for operation, item in zip(operations, answer, strict=True)]


def _outcome(operation: Operation, item: Json) -> Outcome:
    try:
        if not isinstance(item, dict):
            raise Malformed("not an object")
        if _status(item) != 200:
            return _refused(item)
        return operation.read({name: value for name, value in item.items() if name != "status"})
    except Malformed as error:
        why = str(error)
    return ProtocolViolation(f"the node's result does not fit the operation: {why}", sent=True)


def _status(item: dict[str, Json]) -> int:
    status = item.get("status")
    if not isinstance(status, int) or isinstance(status, bool):
        raise Malformed("no status")
    return status


def _refused(item: dict[str, Json]) -> KmsError:
    status, code, message, wait = _status(item), item.get("code"), item.get("message"), item.get("retry_after_s")
    if not 300 <= status <= 599 or not isinstance(code, str) or not isinstance(message, str):
        raise Malformed("not a refusal")
    if wait is not None and (not isinstance(wait, int) or isinstance(wait, bool) or wait < 0):
        raise Malformed("not a refusal")
    if wait is not None:
        wait = min(wait, MAX_WAIT_S)
    if status in BUSY:
        words = str(Refused(status, code, message, authentic=True))
        return Unavailable(words, status=status, retry_after_s=wait, authentic=True, sent=True)
    return (NotFound if status == 404 else Refused)(status, code, message, authentic=True)


# ---- version 1 ----------------------------------------------------------------------------------------------------


def _call_v1(node: NodeClient, operations: Sequence[Operation]) -> list[Outcome]:
    """Runs operations one by one. Behind one that got no answer none is sent."""
    outcomes: list[Outcome] = []
    lost: KmsError | None = None
    for operation in operations:
        if lost is not None:
            outcomes.append(Unavailable(f"not sent: {lost}"))
            continue
        try:
            outcomes.append(node.call(operation))
        except KmsError as error:
            if isinstance(error, Unavailable) and error.status is None:
                lost = error
            outcomes.append(error if _is_refusal_v1(error) else failed(operation, error))
    return outcomes


def _is_refusal_v1(error: KmsError) -> bool:
    """Whether the operation was not done. Refusals of version 1 are plain, and taken for what they say."""
    if isinstance(error, Refused):
        return error.status not in _UNSURE
    return isinstance(error, Unavailable) and error.status is not None
