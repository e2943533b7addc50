"""Who the application is: its wallet and its P-384 key, both registered on chain (docs/protocol.md section 1)."""

from __future__ import annotations

import os
import secrets
import stat
from typing import Protocol

from ._codec import Malformed, hex_decode
from ._envelope import P384, Channel, hkdf
from ._wallet import Wallet
from .errors import InvalidRequest

_SEED = 32  # bytes
_SALT = b"nova-kms:identity"


class SealingChannel(Protocol):
    """Envelopes between an identity and one node."""

    def seal(self, plain: bytes) -> bytes:
        """The envelope of a plaintext, as JSON."""
        ...

    def open(self, body: bytes) -> bytes:
        """The plaintext of the node's envelope. Raises ValueError where it is not the node's."""
        ...


class Signer(Protocol):
    """What a client needs of an identity. Whoever keeps keys elsewhere implements this; calls may come from any thread."""

    @property
    def wallet(self) -> str:
        """0x and 40 lower-case digits."""
        ...

    def sign(self, message: bytes) -> str:
        """The wallet's EIP-191 signature: 0x and 130 digits."""
        ...

    def channel(self, node_point: bytes) -> SealingChannel:
        """The channel to a node's teePubkey (an uncompressed point)."""
        ...


def _private(path: str | os.PathLike[str]) -> str:
    """The content of a small file that is its user's alone."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise InvalidRequest(f"{os.fspath(path)}: is not a file")
        if status.st_uid != os.geteuid() or status.st_mode & 0o077:
            raise InvalidRequest(f"{os.fspath(path)}: others have access to it: it must be yours, with mode 0600")
        return file.read(2 * _SEED + 2).decode("ascii", "replace")


class Identity:
    """An identity whose keys are in this process."""

    def __init__(self, wallet_key: bytes, p384_key: bytes) -> None:
        """wallet_key: 32 bytes, p384_key: 48 bytes, big-endian."""
        failed = False
        try:
            self._wallet, self._p384 = Wallet(bytes(wallet_key)), P384(bytes(p384_key))
        except ValueError:
            failed = True
        if failed:
            raise InvalidRequest("not an identity: a wallet's key has 32 bytes, a P-384 key 48")

    @classmethod
    def from_seed(cls, seed: bytes) -> Identity:
        """The identity of a seed of 32 bytes, as nova-kms derives it."""
        if len(seed) != _SEED:
            raise InvalidRequest(f"a seed has {_SEED} bytes, not {len(seed)}")
        seed = bytes(seed)
        return cls(hkdf(seed, _SALT, b"wallet", 32), hkdf(seed, _SALT, b"p384", 48))

    @classmethod
    def from_seed_file(cls, path: str | os.PathLike[str]) -> Identity:
        """The identity of a seed file (`nova-kms keygen`, `nova-kms devnet`): 64 hexadecimal digits and a newline."""
        text = _private(path)
        try:
            seed = hex_decode(text[:-1], _SEED) if text.endswith("\n") else b""
        except Malformed:
            seed = b""
        if not seed:
            raise InvalidRequest(f"{os.fspath(path)}: is not a seed file: one has 64 hexadecimal digits and a newline")
        return cls.from_seed(seed)

    @classmethod
    def create_seed_file(cls, path: str | os.PathLike[str]) -> Identity:
        """Makes a new seed file, mode 0600, and its identity. Raises FileExistsError where the path is taken."""
        seed = secrets.token_bytes(_SEED)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(seed.hex().encode() + b"\n")
            file.flush()
            os.fsync(descriptor)
        return cls.from_seed(seed)

    @property
    def wallet(self) -> str:
        return self._wallet.address

    @property
    def pubkey(self) -> bytes:
        """The teePubkey: DER SubjectPublicKeyInfo."""
        return self._p384.pubkey

    def sign(self, message: bytes) -> str:
        return self._wallet.sign(message)

    def channel(self, node_point: bytes) -> SealingChannel:
        return Channel(self._p384, node_point)

    def __repr__(self) -> str:
        return f"<Identity {self.wallet}>"

    def __reduce_ex__(self, protocol: object) -> str:
        raise TypeError("an Identity cannot be pickled")
