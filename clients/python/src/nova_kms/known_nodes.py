"""Which nodes have had sessions: a client never goes back to version 1 with one of them unless it is told to.

The file is the one of `nova-kms call`: this user's own, one wallet a line. Whoever can take a line out of it, and sits on the
way to the node, makes a client speak version 1: so a file that others can write, or that is not understood, is refused.
"""

from __future__ import annotations

import os
import stat
import threading
import warnings
from pathlib import Path

from ._wallet import parse_address
from .errors import InvalidRequest

_MAX_BYTES = 1 << 20


class KnownNodes:
    """A memory of this process; with a path, of the file too. Threads: any."""

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        """path: of the file, which need not exist yet."""
        self._path = None if path is None else Path(path)
        self._lock = threading.Lock()
        self._wallets: set[str] = set()
        self._unended = ""
        if self._path is not None:
            self._check_folder(self._path)
            self._read(self._path)

    @staticmethod
    def default_path() -> Path:
        """Where `nova-kms call` keeps it (XDG Base Directory Specification)."""
        state = os.environ.get("XDG_STATE_HOME", "")
        base = Path(state) if state.startswith("/") else Path.home() / ".local" / "state"
        return base / "nova-kms" / "known-nodes"

    def __contains__(self, wallet: object) -> bool:
        return wallet in self._wallets

    def add(self, wallet: str) -> None:
        """Remembers that a node has sessions. A file that cannot be written is a warning, once."""
        with self._lock:
            if wallet in self._wallets:
                return
            self._wallets.add(wallet)
            if self._path is None:
                return
            try:
                self._append(self._path, f"{self._unended}{wallet}\n")
                self._unended = ""
            except OSError as error:
                warnings.warn(f"cannot remember that a node has sessions: {self._path}: {error.strerror}", stacklevel=2)

    @staticmethod
    def _append(path: Path, line: str) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            # One write, so that processes beside this one do not mix their lines.
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)

    @staticmethod
    def _check_folder(path: Path) -> None:
        try:
            status = path.parent.stat()
        except FileNotFoundError:
            return
        if status.st_uid not in (os.getuid(), 0):
            raise InvalidRequest(f"{path}: is in a folder of another user")
        if status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX:
            raise InvalidRequest(f"{path}: is in a folder that other users can write")

    def _read(self, path: Path) -> None:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if status.st_uid != os.getuid():
                raise InvalidRequest(f"{path}: belongs to another user")
            if status.st_mode & 0o022:
                raise InvalidRequest(f"{path}: can be written by other users")
            content = file.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise InvalidRequest(f"{path}: has more than {_MAX_BYTES} bytes")
        for number, line in enumerate(content.decode("ascii", "replace").split("\n"), 1):
            if not line:
                continue
            try:
                wallet = parse_address(line) if line.startswith("0x") else ""
            except ValueError:
                wallet = ""
            if not wallet:
                raise InvalidRequest(f"{path}: line {number} is not a node's wallet")
            self._wallets.add(wallet)
        self._unended = "" if not content or content.endswith(b"\n") else "\n"
