"""The identity of an application in an enclave, whose keys the Odyn service holds (docs/protocol.md section 13)."""

from __future__ import annotations

from ._codec import Malformed, hex_decode, json_encode, json_object
from ._envelope import der_of, parse_pubkey, read_envelope, write_envelope
from ._http import Server
from ._wallet import is_signed_by, parse_address
from .errors import KmsError, ProtocolViolation, Unavailable
from .identity import SealingChannel

_MAX_ANSWER = 256 << 20  # bytes: a listing in JSON may take six times its length
_MIN_NONCE = 12
_UNDECRYPTABLE = (400, 403, 422)  # HTTP statuses for an envelope that was not made for the service's key


class OdynIdentity:
    """Signs and decrypts by the service, which is trusted and on this machine. Threads: any.

    Keys and values pass through the service: it is the one that keeps the private keys.
    """

    def __init__(self, url: str = "http://127.0.0.1:18000", *, timeout_s: float = 10.0) -> None:
        """Asks the service who it is. Raises Unavailable where it does not answer."""
        self._server, self._timeout_s = Server(url), timeout_s
        try:
            self._wallet = parse_address(self._text("GET", "/v1/eth/address", None, "address"))
            self._point = parse_pubkey(self._hex("GET", "/v1/encryption/public_key", None, "public_key_der"))
            return
        except Malformed as error:
            failure: KmsError = ProtocolViolation(f"Odyn: {error}")
        except KmsError as error:
            failure = error
        self.close()
        raise failure

    def close(self) -> None:
        """Closes the connections; a later call opens new ones."""
        self._server.close()

    @property
    def wallet(self) -> str:
        return self._wallet

    @property
    def pubkey(self) -> bytes:
        """The teePubkey: DER SubjectPublicKeyInfo."""
        return der_of(self._point)

    def sign(self, message: bytes) -> str:
        call = {"include_attestation": False, "message": message.decode()}
        raw = self._hex("POST", "/v1/eth/sign", call, "signature")
        # The service writes v as 0 or 1.
        v = raw[-1] + 27 if raw and raw[-1] < 2 else (raw[-1] if raw else 0)
        signature = "0x" + raw[:-1].hex() + format(v, "02x")
        if not is_signed_by(self._wallet, message, signature):
            raise ProtocolViolation("Odyn: not the signature of its wallet")
        return signature

    def channel(self, node_point: bytes) -> SealingChannel:
        return _Channel(self, node_point)

    def __repr__(self) -> str:
        return f"<OdynIdentity {self._wallet}>"

    # ---- calls ----

    def call(self, method: str, path: str, members: dict[str, object] | None) -> dict[str, object] | None:
        """The object that a call gives; None where it says that an envelope does not decrypt."""
        response = self._server.request(
            method,
            path,
            timeout_s=self._timeout_s,
            max_bytes=_MAX_ANSWER,
            headers={} if members is None else {"Content-Type": "application/json"},
            body=None if members is None else json_encode(members),
        )
        if path.endswith("/decrypt") and response.status in _UNDECRYPTABLE:
            return None
        if response.status != 200:
            raise Unavailable(f"Odyn: {path}: HTTP {response.status}")
        try:
            return dict(json_object(response.body))
        except Malformed:
            pass
        raise ProtocolViolation(f"Odyn: {path}: no JSON object")

    def _text(self, method: str, path: str, members: dict[str, object] | None, name: str) -> str:
        text = (self.call(method, path, members) or {}).get(name)
        if not isinstance(text, str):
            raise ProtocolViolation(f"Odyn: {path}: no {name}")
        return text

    def _hex(self, method: str, path: str, members: dict[str, object] | None, name: str) -> bytes:
        try:
            return hex_decode(self._text(method, path, members, name))
        except Malformed:
            pass
        raise ProtocolViolation(f"Odyn: {path}: {name} is not hexadecimal digits")


class _Channel:
    def __init__(self, odyn: OdynIdentity, node_point: bytes) -> None:
        self._odyn, self._node = odyn, node_point
        self._key = "0x" + der_of(node_point).hex()

    def seal(self, plain: bytes) -> bytes:
        path = "/v1/encryption/encrypt"
        sealed = self._odyn.call("POST", path, {"client_public_key": self._key, "plaintext": plain.decode()}) or {}
        texts = [sealed.get(name) for name in ("enclave_public_key", "nonce", "encrypted_data")]
        try:
            sender, nonce, data = (hex_decode(text) if isinstance(text, str) else b"" for text in texts)
            if der_of(parse_pubkey(sender)) == self._odyn.pubkey and len(nonce) >= _MIN_NONCE and data:
                return write_envelope(self._odyn.pubkey.hex(), nonce, data)
        except Malformed:
            pass
        raise ProtocolViolation(f"Odyn: {path}: no envelope of its key")

    def open(self, body: bytes) -> bytes:
        nonce, sealed = read_envelope(body, self._node)
        call: dict[str, object] = {
            "client_public_key": self._key,
            "nonce": "0x" + nonce.hex(),
            "encrypted_data": "0x" + sealed.hex(),
        }
        opened = self._odyn.call("POST", "/v1/encryption/decrypt", call)
        plain = None if opened is None else opened.get("plaintext")
        if opened is not None and not isinstance(plain, str):
            raise ProtocolViolation("Odyn: /v1/encryption/decrypt: no plaintext")
        if not isinstance(plain, str):
            raise Malformed("does not decrypt")
        return plain.encode()
