"""The sessions of one application with one node: opens one when it is needed, sends messages in it, gives it up where an answer
is not authentic, and says when version 1 may be spoken instead (docs/protocol.md section 15.5).
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from copy import copy

from ._codec import Json, Malformed, json_decode
from ._node import BUSY, NodeClient, plain_error
from ._session import MAX_ENDS, Opening, SessionKeys
from ._wallet import is_signed_by
from .errors import KmsError, NoSession, ProtocolViolation, Unavailable
from .known_nodes import KnownNodes
from .operations import Derive

_MAX_GRANT = 65536  # bytes of an answer to an opening
_EARLIER = 0.9  # of a session's times: it is not used up to its last second
_V1_S = 3600.0  # how long a node without sessions is not asked again


class Session:
    def __init__(self, keys: SessionKeys) -> None:
        self.keys, self.over = keys, False
        self.opened = self.used = time.monotonic()

    def is_over(self) -> bool:
        now, life = time.monotonic(), self.keys.expires_s * _EARLIER
        return self.over or now - self.opened > life or now - self.used > life / 4


class Sessions:
    """Threads: any."""

    def __init__(self, node: NodeClient, known: KnownNodes, *, allow_v1: bool) -> None:
        self.node = node
        self._known, self._allow_v1 = known, allow_v1
        self._opening, self._lock = threading.Lock(), threading.Lock()
        self._current: Session | None = None
        self._given_up: list[bytes] = []
        self._v1_until = 0.0
        self._attempts = 0  # at an opening, and what came of the last one
        self._failure: KmsError | None = None

    # ---- the end of a session ----

    def _drop(self, session: Session) -> bool:
        """Uses a session no more."""
        with self._lock:
            if self._current is session:
                self._current = None
            first, session.over = not session.over, True
            return first

    def give_up(self, session: Session) -> None:
        """The same, and has the node end it with the next opening, so that a message that was held back on the way dies."""
        if self._drop(session):
            with self._lock:
                self._given_up = [*self._given_up, session.keys.sid][-MAX_ENDS:]

    def close(self) -> None:
        session = self._current
        if session is not None:
            self.give_up(session)

    # ---- opening ----

    def ready(self) -> Session | None:
        """The session to use now; None: version 1 is spoken. Where it raises, no operation was sent."""
        session = self._usable()
        if session is not None or time.monotonic() < self._v1_until:
            return session
        attempts = self._attempts
        with self._opening:  # one thread opens, the others wait for what comes of it
            session = self._usable()
            if session is not None or time.monotonic() < self._v1_until:
                return session
            if self._attempts != attempts and self._failure is not None:
                raise copy(self._failure)
            try:
                self._failure = None
                return self._open()
            except KmsError as error:
                self._failure = copy(error)  # which keeps no frames of calls, with their values, alive
                raise
            finally:
                self._attempts += 1

    def _usable(self) -> Session | None:
        session = self._current
        if session is None:
            return None
        if session.is_over():
            self.give_up(session)
            return None
        return session

    def _open(self) -> Session | None:
        try:
            session = self._open_session()
        except NoSession as error:
            refused = error
        else:
            self._known.add(self.node.peer().wallet)
            self._current = session
            return session
        if not self._may_speak_v1(refused):
            raise refused
        self._v1_until = time.monotonic() + _V1_S
        return None

    def _open_session(self) -> Session:
        node, peer, nonce, now_s = self.node, self.node.peer(), self.node.nonce(), int(time.time())
        ends = list(self._given_up)
        opening = Opening(ends)
        body = peer.channel.seal(opening.offer)
        text = f"NovaKMS:AppSession:{nonce}:{peer.wallet}:{now_s}:{hashlib.sha256(body).hexdigest()}".encode()
        headers = node.prove(text, nonce, now_s)
        signature = headers["X-App-Signature"]
        headers["Content-Type"] = "application/json"
        response = node.server.request(
            "POST", "/session", timeout_s=node.limits.timeout_s, max_bytes=_MAX_GRANT, headers=headers, body=body
        )
        if response.status != 200:
            raise plain_error(node.url, response, sent=False)
        answer = bytes(response.body)
        signed = f"NovaKMS:SessionAnswer:{signature}:{peer.wallet}:{hashlib.sha256(answer).hexdigest()}".encode()
        try:
            if not is_signed_by(peer.wallet, signed, response.header("X-KMS-Session-Signature")):
                raise Malformed("not signed by the node")
            keys = opening.finish(peer.channel.open(answer), text, body, answer)
        except ValueError as error:
            why = str(error)
        else:
            with self._lock:
                self._given_up = [sid for sid in self._given_up if sid not in ends]
            return Session(keys)
        raise ProtocolViolation(f"{node.url}: the answer to an opening is not trusted: {why}")

    # ---- whether there are any ----

    def _may_speak_v1(self, refused: NoSession) -> bool:
        """Whether version 1 may be spoken after an opening was refused."""
        status = refused.http_status or 0
        if status in BUSY or not (400 <= status < 500 or status == 501):
            return False
        if self._allow_v1:
            return True
        return self.node.peer().wallet not in self._known and self._has_none(refused)

    def _has_none(self, refused: NoSession) -> bool:
        """Asks in version 1, about a key that nobody uses. The node repeats the path, which was never used before, so its
        answer belongs to this question: one that was recorded, or made for another request, names another path."""
        question = Derive(f"nova-kms/features/{os.urandom(16).hex()}", length=1)
        try:
            has_sessions = self.node.has_sessions(question)
        except Unavailable as error:
            if error.status is None:
                why = str(error)
            else:
                raise _unsent(error) from None
        except KmsError as error:
            why = str(error)
        else:
            if has_sessions:
                self._known.add(self.node.peer().wallet)
            return not has_sessions
        text = f"{refused}; asked for its features, the node does not say: {why}"
        raise NoSession(text, http_status=refused.http_status)

    # ---- messages ----

    def exchange(self, session: Session, text: bytes) -> Json:
        """Sends a message, and opens its answer. What is raised says in `sent` whether the node may have got it."""
        if session.over:  # while this call waited for it: nothing is sent
            raise NoSession("the session has ended")
        try:
            body, seq = session.keys.seal(text, time.time_ns() // 1_000_000)
        except OverflowError:
            self.give_up(session)
            raise NoSession("the session is used up") from None
        begun, limits = time.monotonic(), self.node.limits
        try:
            response = self.node.server.request(
                "POST",
                "/session/message",
                timeout_s=limits.timeout_s,
                max_bytes=limits.max_answer_bytes,
                headers={"Content-Type": "application/octet-stream"},
                body=body,
            )
        except KmsError:
            self.give_up(session)
            raise
        if response.status != 200:
            if response.status not in BUSY:
                self.give_up(session)
            raise plain_error(self.node.url, response, sent=True)
        try:
            answer = json_decode(session.keys.open(bytes(response.body), seq))
        except Malformed as error:
            why = str(error)
        else:
            session.used = max(session.used, begun)
            self._end_if_refused(session, answer)
            return answer
        self.give_up(session)
        raise ProtocolViolation(f"{self.node.url}: what came is not the answer to this message: {why}", sent=True)

    def _end_if_refused(self, session: Session, answer: Json) -> None:
        """The refusal of a caller is the last answer of a session."""
        only = answer[0] if isinstance(answer, list) and len(answer) == 1 else answer
        if isinstance(only, dict) and only.get("code") == "unauthorized":
            self._drop(session)


def _unsent(error: Unavailable) -> Unavailable:
    return Unavailable(str(error), status=error.status, retry_after_s=error.retry_after_s)
