"""The client of an application: operations on a node, or on one of several."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from copy import copy
from types import TracebackType
from typing import Protocol, TypeVar

from ._codec import json_encode
from ._delivery import Delivery, Entry, Outcome, failed
from ._node import Limits, Node, NodeClient
from ._sessions import Sessions
from .errors import InvalidRequest, KmsError, ProtocolViolation, Refused, Unavailable
from .identity import Signer
from .known_nodes import KnownNodes
from .operations import MAX_PAGE, Delete, Deleted, Derive, Derived, Get, List, Operation, Page, Put, Record, Written, is_write
from .secret import Secret

_MESSAGE = 512 << 10  # bytes of a message's JSON, unless one operation alone takes more
_TOO_LARGE, _UNAVAILABLE = 413, 503  # HTTP statuses
_LONGEST_ANSWER = 160 << 20  # bytes: the longest listing that a node may be configured to give, sealed in version 1
_LEAST_ANSWER, _MOST_ANSWER = 1 << 10, 1 << 30  # bytes: between these a caller may choose
_MAX_TIMEOUT_S = 86400.0
_READ_S, _AGAIN_S = 60.0, 5.0  # how often a list of nodes is read, and how soon again where it could not be
_MOST_AGE_S = 180.0  # of a list of nodes

_Kind = TypeVar("_Kind", Derived, Written, Record, Deleted, Page)


class NodeSource(Protocol):
    """Where a list of nodes comes from that changes: nova_kms.Chain."""

    def nodes(self) -> Sequence[Node]:
        """The nodes that there are now."""
        ...


class _Fixed:
    def __init__(self, nodes: Sequence[Node]) -> None:
        self._nodes = nodes

    def nodes(self) -> Sequence[Node]:
        return self._nodes


class Client:
    """Calls nodes through sessions, and in version 1 of the protocol those that prove that they have none.

    Safe to use from several threads at once; not across fork(). close() when done, or use it in a `with` block.
    """

    def __init__(
        self,
        nodes: str | Node | Sequence[str | Node] | NodeSource,
        identity: Signer,
        *,
        timeout_s: float = 10.0,
        patience_s: float = 0.0,
        known_nodes: KnownNodes | None = None,
        allow_v1: bool = False,
        retry_writes: bool = False,
        require_pop: bool = False,
        tls: ssl.SSLContext | None = None,
        max_answer_bytes: int = _LONGEST_ANSWER,
    ) -> None:
        """Nothing is called yet.

        nodes: a URL, a Node, several of them, or a source of them (Chain). One is called; on trouble the next one.
        identity: of the application (Identity). timeout_s: of each request. patience_s: how long a call waits, in all,
        for nodes that are busy. known_nodes: which nodes have had sessions; None: remembered by this client alone.
        allow_v1: speak version 1 where no session can be opened, also with a node that had sessions. retry_writes: send a
        put or delete again whose answer did not come, though it may overwrite what others wrote meanwhile. require_pop: in
        version 1, refuse replies that do not repeat the request's signature (existing nodes do not). tls: None: the
        system's certificates. max_answer_bytes: of an answer, 1 KiB to 1 GiB.
        """
        if not 0 < timeout_s <= _MAX_TIMEOUT_S or not 0 <= patience_s:
            raise InvalidRequest(f"timeout_s is more than 0 and at most {_MAX_TIMEOUT_S:.0f}, patience_s 0 or more")
        if not _LEAST_ANSWER <= max_answer_bytes <= _MOST_ANSWER:
            raise InvalidRequest(f"max_answer_bytes is {max_answer_bytes}: {_LEAST_ANSWER} to {_MOST_ANSWER} are allowed")
        self._source = _source(nodes)
        self._identity, self._tls, self._patience_s = identity, tls, patience_s
        self._limits = Limits(timeout_s, max_answer_bytes, require_pop)
        self._known = KnownNodes() if known_nodes is None else known_nodes
        self._allow_v1, self._retry_writes = allow_v1, retry_writes
        self._entries: dict[Node, Entry] = {}
        self._reading = threading.Lock()  # who has it reads the list of nodes
        self._readings = 0
        self._failure: KmsError | None = None  # of the last one
        self._read_at: float | None = None
        self._tried_at = 0.0
        self._delivery = Delivery(self._now, retry_writes=retry_writes)
        if isinstance(self._source, _Fixed):
            self._update()

    def close(self) -> None:
        """Gives up the sessions and closes the connections. A later call opens new ones."""
        for entry in list(self._entries.values()):
            entry.sessions.close()
            entry.node.server.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Client of {self._identity.wallet}, {len(self._entries)} nodes>"

    # ---- nodes ----

    def _update(self) -> None:
        kept = self._entries
        entries: dict[Node, Entry] = {}
        for node in self._source.nodes():
            if node not in kept:
                client = NodeClient(node, self._identity, self._limits, self._tls)
                sessions = Sessions(client, self._known, allow_v1=self._allow_v1)
                entries[node] = Entry(client, sessions)
            else:
                entries[node] = kept[node]
        for node, entry in kept.items():
            if node not in entries:
                entry.sessions.close()
                entry.node.server.close()
        self._entries, self._read_at = entries, time.monotonic()

    def _now(self) -> Sequence[Entry]:
        """The nodes, read anew where the list is old."""
        if not isinstance(self._source, _Fixed):
            self._refresh()
        return list(self._entries.values())

    def _is_due(self) -> tuple[bool, bool]:
        """Whether the list is to be read, and whether it is too old to do without."""
        now = time.monotonic()
        age = _MOST_AGE_S + 1 if self._read_at is None else now - self._read_at
        return age > _MOST_AGE_S or (age > _READ_S and now - self._tried_at > _AGAIN_S), age > _MOST_AGE_S

    def _refresh(self) -> None:
        """Reads the list where that is due. While one thread does, others go on with the list there is; where it is too old,
        they wait for what comes of the reading."""
        readings = self._readings
        due, too_old = self._is_due()
        if not due or not self._reading.acquire(blocking=too_old):
            return
        try:
            if self._readings != readings and self._failure is not None:
                raise copy(self._failure)
            due, too_old = self._is_due()
            if due:
                self._read(too_old=too_old)
        finally:
            self._reading.release()

    def _read(self, *, too_old: bool) -> None:
        self._tried_at, self._failure = time.monotonic(), None
        try:
            self._update()
        except KmsError as error:
            self._failure = copy(error)  # which keeps no frames of calls, with their values, alive
            if too_old:
                raise
        finally:
            self._readings += 1

    # ---- operations ----

    def derive(self, path: str, context: str = "", length: int = 32) -> Secret:
        """A key of 1 to 1024 bytes that follows from path and context, the same on every node. Wipe it after use."""
        return self._one(Derive(path, context, length), Derived).key

    def put(self, key: str, value: bytes | bytearray | memoryview, ttl_ms: int = 0) -> Written:
        """Stores a value of up to 1 MiB. ttl_ms: its lifetime in milliseconds; 0: for ever."""
        return self._one(Put(key, value, ttl_ms), Written)

    def get(self, key: str) -> Record:
        """A record. Raises NotFound where there is none."""
        return self._one(Get(key), Record)

    def delete(self, key: str) -> Deleted:
        """Deletes a record. Raises NotFound where there is none."""
        return self._one(Delete(key), Deleted)

    def list_page(self, prefix: str = "", after: str = "", limit: int | None = None) -> Page:
        """One page of the keys, in the order of their bytes; its `next` is the next page's `after`."""
        return self._one(List(prefix, after, limit), Page)

    def list_keys(self, prefix: str = "", page: int = MAX_PAGE) -> Iterator[str]:
        """All keys that start with a prefix, asked for page by page."""
        after = ""
        while True:
            result = self.list_page(prefix, after, page)
            # A node that knows no pages sends all of its keys at once.
            yield from (key for key in result.keys if key.startswith(prefix))
            if result.next is None:
                return
            if result.next.encode() <= after.encode():
                raise ProtocolViolation("the node's pages do not end")
            after = result.next

    def batch(self, operations: Sequence[Operation]) -> list[Outcome]:
        """Runs operations in their order, in as few messages as they fit: of each the result, or the error that it alone
        would raise. One that fails stops no other; where a message gets no authentic answer, those of later ones are not
        sent.
        """
        run = _Run(list(operations), self._patience_s, retry_writes=self._retry_writes)
        while run.queue:
            try:
                self._run_message(run)
            except KmsError as error:
                for position in run.queue:
                    run.outcomes[position] = _not_sent(error)
                run.queue = []
        return [run.outcomes[position] for position in range(len(operations))]

    def _one(self, operation: Operation, kind: type[_Kind]) -> _Kind:
        outcome = self.batch([operation])[0]
        if isinstance(outcome, KmsError):
            raise outcome
        assert isinstance(outcome, kind)
        return outcome

    def _run_message(self, run: _Run) -> None:
        """Runs one message. Raises where what is in the queue cannot be sent."""
        try:
            room = 1 if len(run.operations) == 1 else self._delivery.room()
        except Unavailable as error:
            if run.waits(error):
                return
            raise
        positions, text = run.fill(room)
        if not positions:
            return
        operations = [run.operations[position] for position in positions]
        failure: KmsError | None = None
        outcomes: list[Outcome]
        try:
            outcomes = self._delivery.run(operations, text)
        except KmsError as error:
            failure = error
            outcomes = [failed(operation, error) for operation in operations]
        run.outcomes.update(zip(positions, outcomes, strict=True))
        # Behind a write that may have been done or not, nothing is sent.
        writes = any(map(is_write, operations))
        again = [] if failure is not None and failure.sent and writes else run.to_repeat(positions, writes)
        run.queue = again + run.queue
        if failure is not None and not again:
            raise failure


class _Run:
    """A batch under way: its operations, their outcomes by position, and the positions that are still to be sent."""

    def __init__(self, operations: list[Operation], patience_s: float, *, retry_writes: bool) -> None:
        self.operations, self._patience_s, self._retry_writes = operations, patience_s, retry_writes
        self.outcomes: dict[int, Outcome] = {}
        self.queue: list[int] = []
        for position, operation in enumerate(operations):
            try:
                operation.check()
                self.queue.append(position)
            except InvalidRequest as error:
                self.outcomes[position] = error

    def fill(self, room: int) -> tuple[list[int], bytes]:
        """Takes operations from the front of the queue into a message. Returns their positions, its JSON."""
        positions: list[int] = []
        texts: list[bytes] = []
        size = 0
        while self.queue and len(positions) < room:
            text = json_encode(self.operations[self.queue[0]].members() | {"strict": True})
            size += len(text) + 1
            if positions and size > _MESSAGE:
                break
            positions.append(self.queue.pop(0))
            texts.append(text)
        return positions, texts[0] if len(texts) == 1 else b"[" + b",".join(texts) + b"]"

    def waits(self, error: Unavailable) -> bool:
        """Waits for a busy node, as far as patience goes. Returns whether it has."""
        if error.status is None:
            return False
        wait = max(error.retry_after_s or 1, 1)
        if wait > self._patience_s:
            return False
        self._patience_s -= wait
        time.sleep(wait)
        return True

    def _may_wait_for(self, position: int, outcome: Outcome) -> bool:
        """Whether an operation may be sent again since a node was too busy for it."""
        if not isinstance(outcome, Unavailable) or outcome.status is None:
            return False
        # Such a write may have been made, without enough copies.
        may_be_done = outcome.sent and outcome.status == _UNAVAILABLE and is_write(self.operations[position])
        return not may_be_done or self._retry_writes

    def _busy(self, outcomes: dict[int, Outcome]) -> set[int]:
        """Which of a message may be sent again since a node was too busy for them: in their order, so none that would come
        behind a later write of its key that was made, or may have been."""
        busy: set[int] = set()
        written: set[object] = set()
        for position, outcome in reversed(outcomes.items()):
            key = getattr(self.operations[position], "key", None)
            if self._may_wait_for(position, outcome) and key not in written:
                busy.add(position)
            elif is_write(self.operations[position]) and not _is_refused(outcome):
                written.add(key)
        return busy

    def to_repeat(self, positions: list[int], writes: bool) -> list[int]:
        """Which of a message are to be sent again: reads whose answers had no room beside others, and what a node was too
        busy for, where there is patience."""
        outcomes = {position: self.outcomes[position] for position in positions}
        more = not writes and any(not isinstance(outcome, KmsError) for outcome in outcomes.values())
        busy = self._busy(outcomes)
        longest = max((_wait_of(outcomes[p]) for p in busy), default=0)
        waited = bool(busy) and self.waits(Unavailable("busy", status=503, retry_after_s=longest))
        return [
            position
            for position, outcome in outcomes.items()
            if (waited and position in busy) or (more and isinstance(outcome, Refused) and outcome.status == _TOO_LARGE)
        ]


def _is_refused(outcome: Outcome) -> bool:
    """Whether nothing was done."""
    status = outcome.status if isinstance(outcome, Refused | Unavailable) else None
    return status is not None and 400 <= status < 500


def _wait_of(outcome: Outcome) -> int:
    return (outcome.retry_after_s or 1) if isinstance(outcome, Unavailable) else 0


def _not_sent(error: KmsError) -> KmsError:
    """The error of an operation that was not sent because of what came of an earlier one, or of its opening."""
    if isinstance(error, Unavailable):
        return Unavailable(f"not sent: {error}", status=error.status, retry_after_s=error.retry_after_s)
    if isinstance(error, ProtocolViolation):
        return ProtocolViolation(f"not sent: {error}")
    error.sent = False
    return error


def _source(nodes: str | Node | Sequence[str | Node] | NodeSource) -> NodeSource:
    if isinstance(nodes, str | Node):
        nodes = [nodes]
    if not isinstance(nodes, Sequence):
        return nodes
    if not nodes:
        raise InvalidRequest("there is no node: give one URL at least")
    return _Fixed([Node(node) if isinstance(node, str) else node for node in nodes])
