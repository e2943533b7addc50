"""One node as an application sees it: its public pages, who it is, and calls of version 1 of the protocol."""

from __future__ import annotations

import re
import ssl
import threading
import time
from dataclasses import dataclass
from urllib.parse import quote

from ._codec import Malformed, hex_decode, json_decode, json_encode, json_object
from ._envelope import parse_pubkey
from ._http import Response, Server
from ._wallet import is_signed_by, parse_address
from .errors import InvalidRequest, KmsError, NoSession, NotFound, ProtocolViolation, Refused, Unavailable, printable
from .identity import SealingChannel, Signer
from .operations import Derive, Get, List, Operation, Result

MAX_PAGE = 1 << 20  # bytes of a public page
BUSY = (429, 503)  # HTTP statuses of a node that asks to be called later
_ROUTES = {
    "derive": ("POST", "/kms/derive"),
    "put": ("PUT", "/kms/data"),
    "delete": ("DELETE", "/kms/data"),
    "get": ("GET", "/kms/data?key="),
    "list": ("GET", "/kms/data"),
}
_NONCE = re.compile(r"[!-~]{1,256}", re.ASCII)


@dataclass(frozen=True)
class Node:
    """Where a node is, and who it must be.

    url: http or https. wallet, pubkey: of the node, in hexadecimal digits; where they are missing, the node's own word
    (GET /status) is taken for them, so that whoever answers at the URL is trusted. public_only: nothing but public addresses
    is connected to.
    """

    url: str
    wallet: str | None = None
    pubkey: str | None = None
    public_only: bool = False


@dataclass(frozen=True)
class Limits:
    """timeout_s: of each request. max_answer_bytes: of an answer to operations. require_pop: as Client has it."""

    timeout_s: float
    max_answer_bytes: int
    require_pop: bool


@dataclass(frozen=True)
class Peer:
    """Who a node is, and the channel to it."""

    wallet: str
    channel: SealingChannel


class NodeClient:
    """Threads: any."""

    def __init__(self, node: Node, identity: Signer, limits: Limits, tls: ssl.SSLContext | None) -> None:
        self.server = Server(node.url, tls, public_only=node.public_only)
        self.url = self.server.url
        self.limits = limits
        self._identity = identity
        self._lock = threading.Lock()
        self._peer: Peer | None = None
        self._binds = limits.require_pop
        self._pinned = self._parse(node.wallet, node.pubkey)

    def _parse(self, wallet: str | None, pubkey: str | None) -> tuple[str | None, bytes | None]:
        try:
            return (
                None if wallet is None else parse_address(wallet),
                None if pubkey is None else parse_pubkey(hex_decode(pubkey)),
            )
        except ValueError:
            pass
        raise InvalidRequest(f"{self.url}: the pinned identity is none: a wallet of 40 digits, a P-384 public key")

    # ---- public pages ----

    def _get_json(self, path: str) -> dict[str, object]:
        response = self.server.request("GET", path, timeout_s=self.limits.timeout_s, max_bytes=MAX_PAGE)
        if response.status != 200:
            raise plain_error(self.url, response, sent=False)
        try:
            return dict(json_object(response.body))
        except Malformed:
            pass
        raise ProtocolViolation(f"{self.url}: {path} does not give a JSON object")

    def peer(self) -> Peer:
        """Who the node is: learnt once."""
        with self._lock:
            if self._peer is None:
                wallet, point = self._identify()
                self._peer = Peer(wallet, self._identity.channel(point))
            return self._peer

    def _identify(self) -> tuple[str, bytes]:
        wallet, point = self._pinned
        if wallet is not None and point is not None:
            return wallet, point
        named = self._get_json("/status").get("node")
        members = named if isinstance(named, dict) else {}
        try:
            wallet = wallet or parse_address(_text(members.get("tee_wallet")))
            return wallet, point or parse_pubkey(hex_decode(_text(members.get("tee_pubkey"))))
        except Malformed:
            pass
        raise ProtocolViolation(f"{self.url}: /status does not name the node's identity")

    def nonce(self) -> str:
        nonce = self._get_json("/nonce").get("nonce")
        if isinstance(nonce, str) and _NONCE.fullmatch(nonce):
            return nonce
        raise ProtocolViolation(f"{self.url}: /nonce does not give a nonce")

    def prove(self, message: bytes, nonce: str, now_s: int) -> dict[str, str]:
        """The headers that prove possession of the application's wallet."""
        return {
            "X-App-Signature": self._identity.sign(message),
            "X-App-Nonce": nonce,
            "X-App-Timestamp": str(now_s),
            "X-App-Wallet": self._identity.wallet,
        }

    # ---- version 1 ----

    def call(self, operation: Operation) -> Result:
        """Calls the node once in version 1."""
        return self._call(operation, asks=False)[0]

    def has_sessions(self, question: Derive) -> bool:
        """What the node says in version 1; the question derives a key that nobody uses."""
        return self._call(question, asks=True)[1]

    def _call(self, operation: Operation, *, asks: bool) -> tuple[Result, bool]:
        peer, nonce, now_s = self.peer(), self.nonce(), int(time.time())
        headers = self.prove(f"NovaKMS:AppAuth:{nonce}:{peer.wallet}:{now_s}".encode(), nonce, now_s)
        signature = headers["X-App-Signature"]
        members = operation.members()
        method, path = _ROUTES[str(members["op"])]
        body = None
        if method != "GET":
            headers["Content-Type"] = "application/json"
            body = peer.channel.seal(_inner(members, signature, asks=asks))
        response = self.server.request(
            method,
            path + _query(operation),
            timeout_s=self.limits.timeout_s,
            max_bytes=self.limits.max_answer_bytes,
            headers=headers,
            body=body,
        )
        if response.status != 200:
            raise refusal(self.url, response)
        try:
            return self._finish(peer, operation, signature, response, asks=asks)
        except KmsError as error:  # of an identity that keeps its keys elsewhere
            error.sent = True
            raise
        except ValueError as error:
            why = str(error)
        raise ProtocolViolation(f"{self.url}: the answer is not trusted: {why}", sent=True)

    def _finish(self, peer: Peer, operation: Operation, signature: str, response: Response, *, asks: bool) -> tuple[Result, bool]:
        signed = f"NovaKMS:Response:{signature}:{peer.wallet}".encode()
        if not is_signed_by(peer.wallet, signed, response.header("X-KMS-Response-Signature")):
            raise Malformed("not signed by the node")
        reply = json_object(peer.channel.open(bytes(response.body)))
        pop, features = reply.pop("pop", None), reply.pop("features", None) if asks else None
        has_body = not isinstance(operation, Get | List)
        if pop != signature and (pop is not None or (has_body and self._binds)):
            raise Malformed("bound to another request")
        if features is not None and not isinstance(features, list):
            raise Malformed("features is no list")
        result = operation.read(reply)
        self._binds = self._binds or pop is not None
        return result, features is not None and "session" in features


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _inner(members: dict[str, object], signature: str, *, asks: bool) -> bytes:
    inner = dict(members, pop=signature)
    if asks:
        # Nodes of every version take it: without what those before this one refuse.
        del inner["op"]
        inner["features"] = ["session"]
    else:
        inner["strict"] = True
    return json_encode(inner)


def _query(operation: Operation) -> str:
    if isinstance(operation, Get):
        return quote(operation.key, safe="")
    if not isinstance(operation, List):
        return ""
    members = operation.members()
    del members["op"]
    return "?" + "&".join(f"{name}={quote(str(value), safe='')}" for name, value in members.items()) if members else ""


# ---- plain answers ---------------------------------------------------------------------------------------------------


def _words(response: Response) -> tuple[str, str]:
    """Code and message of an error."""
    members: object = None
    try:
        members = json_decode(response.body)
    except Malformed:
        pass
    named = members if isinstance(members, dict) else {}
    return _text(named.get("code")) or "error", _text(named.get("message")) or "no reason given"


def busy(url: str, response: Response, *, sent: bool) -> Unavailable:
    code, message = _words(response)
    return Unavailable(
        f"{url}: {printable(f'HTTP {response.status} {code}: {message}')}",
        status=response.status,
        retry_after_s=response.retry_after_s(),
        sent=sent,
    )


def plain_error(url: str, response: Response, *, sent: bool) -> KmsError:
    """A plain answer where something authentic was due: anyone on the way could have sent it. Of a busy node the status is
    kept, since waiting is safe."""
    if response.status in BUSY:
        return busy(url, response, sent=sent)
    code, message = _words(response)
    text = f"{url}: {printable(f'HTTP {response.status} {code}: {message}')}"
    return NoSession(text, http_status=response.status, sent=sent)


def refusal(url: str, response: Response) -> KmsError:
    """An error of version 1, which nobody has signed."""
    if response.status in BUSY:
        return busy(url, response, sent=True)
    code, message = _words(response)
    kind = NotFound if response.status == 404 else Refused
    return kind(response.status, code, f"{message} ({url})", authentic=False)
