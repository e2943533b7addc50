"""An identity whose keys another service holds."""

import json
import os
import socket
import unittest
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

import nova_kms as kms
from nova_kms._envelope import P384, hkdf, parse_pubkey
from nova_kms._wallet import Wallet
from servers import FakeNode, Server, reply

WALLET_KEY, P384_KEY = b"w" * 32, b"p" * 48


class Odyn:
    """The service, as docs/protocol.md section 13 has it. changes: members of its answers, by path."""

    def __init__(self) -> None:
        self.wallet, self.p384 = Wallet(WALLET_KEY), P384(P384_KEY)
        self.changes: dict[str, dict[str, Any]] = {}
        self.refusal: dict[str, str] = {}
        self.server = Server(self._handle)

    def _handle(self, connection: socket.socket, line: bytes, headers: dict[str, str], body: bytes) -> None:
        path = line.split()[1].decode()
        if path in self.refusal:
            return connection.sendall(reply(b"{}", self.refusal[path]))
        answer = self._answer(path.removeprefix("/v1/"), json.loads(body or b"{}")) | self.changes.get(path, {})
        connection.sendall(reply(json.dumps(answer).encode()))

    def _answer(self, path: str, asked: dict[str, Any]) -> dict[str, Any]:
        if path == "eth/address":
            return {"address": self.wallet.address}
        if path == "encryption/public_key":
            return {"public_key_der": "0x" + self.p384.pubkey.hex()}
        if path == "eth/sign":
            signature = self.wallet.sign(asked["message"].encode())
            return {"signature": signature[:-2] + format(int(signature[-2:], 16) - 27, "02x")}
        other = parse_pubkey(bytes.fromhex(asked["client_public_key"][2:]))
        aead = AESGCM(hkdf(self.p384.agree(other), b"", b"encryption data"))
        if path == "encryption/encrypt":
            nonce = os.urandom(32)
            sealed = aead.encrypt(nonce[:12], asked["plaintext"].encode(), None)
            key = self.p384.pubkey.hex()
            return {"encrypted_data": sealed.hex(), "enclave_public_key": key, "nonce": "0x" + nonce.hex()}
        nonce, sealed = (bytes.fromhex(asked[name][2:]) for name in ("nonce", "encrypted_data"))
        return {"plaintext": aead.decrypt(nonce[:12], sealed, None).decode()}


class Identities(unittest.TestCase):
    def setUp(self) -> None:
        self.odyn = Odyn()
        self.addCleanup(self.odyn.server.close)

    def identity(self) -> kms.OdynIdentity:
        identity = kms.OdynIdentity(self.odyn.server.url)
        self.addCleanup(identity.close)
        return identity

    def test_opens_sessions(self) -> None:
        identity = self.identity()
        self.assertEqual(kms.Identity(WALLET_KEY, P384_KEY).wallet, identity.wallet)
        node = FakeNode(kms.Identity(WALLET_KEY, P384_KEY))
        self.addCleanup(node.close)
        with kms.Client(node.url, identity) as client:
            self.assertEqual(b"AAAA", bytes(client.derive("p", length=4)))
        self.assertEqual(1, node.count("/session"))

    def test_must_be_somebody(self) -> None:
        for path, change in (("eth/address", {"address": "0x12"}), ("eth/address", {"address": 1}),
                             ("encryption/public_key", {"public_key_der": "zz"}),
                             ("encryption/public_key", {"public_key_der": "00" * 120})):  # fmt: skip
            self.odyn.changes = {f"/v1/{path}": change}
            with self.assertRaises(kms.ProtocolViolation, msg=str(change)):
                self.identity()
        self.odyn.refusal = {"/v1/eth/address": "500 Error"}
        with self.assertRaises(kms.Unavailable):
            self.identity()

    def test_is_not_believed_where_it_says_something_else(self) -> None:
        identity = self.identity()
        other = P384(b"q" * 48)
        channel = identity.channel(other.point)
        for path, change in (
            ("eth/sign", {"signature": Wallet(b"x" * 32).sign(b"m")}),
            ("eth/sign", {"signature": ""}),
            ("eth/sign", {"signature": "0x12"}),
            ("encryption/encrypt", {"enclave_public_key": other.pubkey.hex()}),
            ("encryption/encrypt", {"nonce": "00" * 11}),
            ("encryption/encrypt", {"encrypted_data": 1}),
        ):
            self.odyn.changes = {f"/v1/{path}": change}
            with self.assertRaises(kms.ProtocolViolation, msg=str(change)):
                identity.sign(b"m") if path == "eth/sign" else channel.seal(b"{}")

    def test_says_whose_fault_it_is_that_something_does_not_decrypt(self) -> None:
        identity, other = self.identity(), P384(b"q" * 48)
        channel = identity.channel(other.point)
        sealed = kms.Identity(b"w" * 32, b"q" * 48).channel(self.odyn.p384.point).seal(b"{}")
        self.assertEqual(b"{}", channel.open(sealed))
        for status, kind in (("400 Bad", ValueError), ("422 No", ValueError), ("500 Error", kms.Unavailable)):
            self.odyn.refusal = {"/v1/encryption/decrypt": status}
            with self.assertRaises(kind):
                channel.open(sealed)
        self.odyn.refusal, self.odyn.changes = {}, {"/v1/encryption/decrypt": {"plaintext": None}}
        with self.assertRaises(kms.ProtocolViolation):
            channel.open(sealed)
        with self.assertRaises(ValueError):
            channel.open(identity.channel(other.point).seal(b"{}"))  # its own envelope
