"""Servers on loopback for tests: one that says what it is told to, and a node without a store."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, TypeAlias

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from nova_kms import Identity
from nova_kms._envelope import hkdf, parse_pubkey
from nova_kms._session import SUITE, agree, salt_of

Handler: TypeAlias = Callable[[socket.socket, bytes, dict[str, str], bytes], None]
"""(connection, request line, headers by lower-case name, body); may close the connection."""


class Server:
    """Calls a handler for each request, in a thread for each connection."""

    def __init__(self, handler: Handler) -> None:
        self.handler, self.accepted = handler, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.accepted += 1
            self.open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        file = connection.makefile("rb")
        try:
            while line := file.readline():
                headers: dict[str, str] = {}
                while (header := file.readline().strip()) != b"":
                    name, _, value = header.decode().partition(":")
                    headers[name.lower()] = value.strip()
                self.handler(connection, line.strip(), headers, file.read(int(headers.get("content-length", "0"))))
        except (OSError, ValueError):
            pass
        finally:
            file.close()
            connection.close()
            self.open.discard(connection)

    def close(self) -> None:
        # What waits in accept() returns only for a connection that ends.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for connection in list(self.open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def reply(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = "".join(f"{header}\r\n" for header in headers)
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{lines}\r\n".encode() + body


class FakeNode:
    """A node that derives the same key for every path, and answers everything else with 404, in sessions.

    rule: bytes that are sent instead of what the node would say to a path, or None. lost: sessions that it has forgotten.
    """

    def __init__(self, caller: Identity, expires_s: int = 3600) -> None:
        self.identity = Identity.from_seed(os.urandom(32))
        self._caller, self._expires_s = caller, expires_s
        self._channel = self.identity.channel(parse_pubkey(caller.pubkey))
        self._sessions: dict[bytes, tuple[AESGCM, AESGCM]] = {}
        self.rule: Callable[[str], bytes | None] = lambda path: None
        self.paths: list[str] = []
        self.seqs: list[tuple[bytes, int]] = []
        self.server = Server(self._handle)
        self.url = self.server.url

    def forget(self) -> None:
        self._sessions.clear()

    def count(self, path: str) -> int:
        return self.paths.count(path)

    def _handle(self, connection: socket.socket, line: bytes, headers: dict[str, str], body: bytes) -> None:
        path = line.split()[1].decode().partition("?")[0]
        self.paths.append(path)
        connection.sendall(self.rule(path) or self._answer(path, headers, body))

    def _answer(self, path: str, headers: dict[str, str], body: bytes) -> bytes:
        if path == "/status":
            node = {"tee_wallet": self.identity.wallet, "tee_pubkey": self.identity.pubkey.hex()}
            return reply(json.dumps({"node": node}).encode())
        if path == "/nonce":
            return reply(json.dumps({"nonce": os.urandom(16).hex()}).encode())
        if path == "/session":
            return self._open(headers, body)
        if path == "/session/message":
            return self._message(body)
        return reply(b"{}", "404 Not Found")

    def _open(self, headers: dict[str, str], body: bytes) -> bytes:
        own, sid = X25519PrivateKey.generate(), os.urandom(16)
        offer = json.loads(self._channel.open(body))
        grant = {
            "e": own.public_key().public_bytes_raw().hex(),
            "expires_s": self._expires_s,
            "max_operations": 256,
            "sid": sid.hex(),
            "suite": SUITE,
        }
        answer = self._channel.seal(json.dumps(grant).encode())
        digest, wallet = hashlib.sha256(body).hexdigest(), self.identity.wallet
        text = f"NovaKMS:AppSession:{headers['x-app-nonce']}:{wallet}:{headers['x-app-timestamp']}:{digest}".encode()
        shared, salt = agree(own, bytes.fromhex(offer["e"])), salt_of(text, body, answer)
        self._sessions[sid] = tuple(AESGCM(hkdf(shared, salt, b"nova-kms session " + name)) for name in (b"c2s", b"s2c"))  # type: ignore[assignment]
        signed = f"NovaKMS:SessionAnswer:{headers['x-app-signature']}:{wallet}:{hashlib.sha256(answer).hexdigest()}"
        return reply(answer, "200 OK", f"X-KMS-Session-Signature: {self.identity.sign(signed.encode())}")

    def _message(self, body: bytes) -> bytes:
        sid, seq = body[:16], body[16:24]
        if sid not in self._sessions:
            return reply(b'{"code":"session_unknown","message":"x"}', "410 Gone")
        c2s, s2c = self._sessions[sid]
        self.seqs.append((sid, int.from_bytes(seq, "big")))
        label = b"nova-kms" + sid + seq
        plain = c2s.decrypt(bytes(4) + seq, body[24:], label)
        asked = json.loads(plain[12 : 12 + int.from_bytes(plain[8:12], "big")])
        results: Any = [self._result(o) for o in asked] if isinstance(asked, list) else self._result(asked)
        text = json.dumps(results).encode()
        content = (time.time_ns() // 1_000_000).to_bytes(8, "big") + len(text).to_bytes(4, "big") + text
        return reply(seq + s2c.encrypt(bytes(4) + seq, content + bytes(-len(content) % 256), label))

    def _result(self, asked: dict[str, Any]) -> dict[str, Any]:
        if asked["op"] != "derive":
            return {"status": 404, "code": "not_found", "message": "no such record"}
        length = asked["length"]
        key = "QUFB" * (length // 3) + {0: "", 1: "QQ==", 2: "QUE="}[length % 3]
        return {"status": 200, "app_id": 7, "path": asked["path"], "length": length, "key": key}

    def close(self) -> None:
        self.server.close()
