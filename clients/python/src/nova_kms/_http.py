"""HTTP to one server: kept connections, a deadline for each request as a whole, a limit on answers. No redirections, no
proxies, no cookies, no compression. A body is sent once.
"""

from __future__ import annotations

import errno
import http.client
import io
import ipaddress
import re
import selectors
import socket
import ssl
import threading
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from ._resolve import Address, Resolver
from .errors import InvalidRequest, KmsError, ProtocolViolation, Timeout, Unavailable

_MAX_URL = 2048
_ODD = re.compile(r"[^!-~]|[\"'<>\\^`{|}#@?]")
_KEPT, _KEPT_S = 4, 20.0  # idle connections, and for how long they are
_PIECE = 65536
_MAX_ERROR = 65536  # bytes that are read of the body of an error
_MAX_HEADS = 256 << 10  # bytes of an answer's heads and trailers
_OK = 200
MAX_WAIT_S = 999_999_999  # seconds that a node may ask to wait; what is more counts as this


@dataclass(frozen=True)
class Response:
    status: int
    headers: http.client.HTTPMessage
    body: bytearray

    def header(self, name: str) -> str | None:
        """The only header of a name."""
        values = self.headers.get_all(name) or []
        return str(values[0]).strip() if len(values) == 1 else None

    def retry_after_s(self) -> int | None:
        """Seconds of Retry-After, which counts from the response's own Date (RFC 9110 section 10.2.3)."""
        value = self.header("Retry-After")
        if value is None:
            return None
        if value.isascii() and value.isdigit():
            return min(int(value[:12]), MAX_WAIT_S)
        until, since = _date(value), _date(self.header("Date") or "")
        if until is None:
            return None
        return int(min(max(0.0, until - (time.time() if since is None else since)), MAX_WAIT_S))


def _date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError, TypeError):
        return None


class _Deadline:
    def __init__(self, timeout_s: float) -> None:
        self._at = time.monotonic() + timeout_s

    def left(self) -> float:
        left = self._at - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


class _TooLarge(Exception):
    pass


class _Timed:
    """A socket whose reads and writes end at a deadline, as http.client uses it. room: bytes that may be read of an answer,
    with its heads and the framing of its chunks: http.client itself reads without end where a chunk has a negative length.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.deadline = _Deadline(0)
        self.room = 0

    def sendall(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            self.sock.settimeout(self.deadline.left())
            view = view[self.sock.send(view[:_PIECE]) :]

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self))

    def close(self) -> None:
        """http.client closes before it has read the body: it may not."""

    def shut(self) -> None:
        self.sock.close()


class _Reader(io.RawIOBase):
    def __init__(self, timed: _Timed) -> None:
        self._timed = timed

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._timed.room <= 0:
            raise _TooLarge
        self._timed.sock.settimeout(self._timed.deadline.left())
        got = self._timed.sock.recv_into(buffer)
        self._timed.room -= got
        return got


class Server:
    """A server at a base URL. Threads: any."""

    def __init__(
        self, url: str, tls: ssl.SSLContext | None = None, *, public_only: bool = False, secret_path: bool = False
    ) -> None:
        """url: http or https, without user, query and fragment. tls: None: the system's certificates. public_only: refuses
        private, loopback and otherwise special addresses. secret_path: errors do not show the path."""
        self.url, self._https, self._host, self._port, self._path = parse_url(url)
        if secret_path:
            self.url = self.url.removesuffix(self._path)
        self._tls = (tls or ssl.create_default_context()) if self._https else None
        self._public_only = public_only
        self._resolver = Resolver(self._host, self._port)
        self._idle: list[tuple[_Timed, float]] = []
        self._lock = threading.Lock()

    def request(
        self,
        method: str,
        path: str,
        *,
        timeout_s: float,
        max_bytes: int,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
    ) -> Response:
        """Calls the server once; a GET on a kept connection that broke once more.

        max_bytes: of the answer's body; of an error's, no more than 64 KiB are read. Raises Unavailable and Timeout, which say in
        `sent` whether the server may have got the request, and ProtocolViolation where the answer is not HTTP or too large.
        """
        deadline = _Deadline(timeout_s)
        kept = self._take()
        if kept is not None:
            try:
                return self._exchange(kept, deadline, method, path, headers or {}, body, max_bytes)
            except Unavailable as error:
                if isinstance(error, Timeout) or method != "GET":
                    raise
        return self._exchange(self._connect(deadline), deadline, method, path, headers or {}, body, max_bytes)

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for timed, _ in idle:
            timed.shut()

    # ---- connections ----

    def _take(self) -> _Timed | None:
        """A kept connection that the server has not closed."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                timed, since = self._idle.pop()
            if time.monotonic() - since < _KEPT_S and not _has_ended(timed.sock):
                return timed
            timed.shut()

    def _keep(self, timed: _Timed) -> None:
        with self._lock:
            if len(self._idle) < _KEPT:
                self._idle.append((timed, time.monotonic()))
                return
        timed.shut()

    def _connect(self, deadline: _Deadline) -> _Timed:
        failure: KmsError = Unavailable(f"{self.url}: the name has no address")
        addresses = self._addresses(deadline)
        for tried, address in enumerate(addresses):
            try:
                # An address that does not answer leaves time for those behind it.
                return self._connect_to(address, deadline, deadline.left() / (len(addresses) - tried))
            except TimeoutError:
                failure = Timeout(f"{self.url}: no connection in time")
            except (OSError, ValueError) as error:
                failure = Unavailable(f"{self.url}: {_why(error)}")
        raise failure

    def _addresses(self, deadline: _Deadline) -> list[Address]:
        failure: KmsError
        try:
            found = self._resolver.addresses(deadline.left())
            allowed = [address for address in found if not self._public_only or _is_public(str(address[4][0]))]
            if allowed or not found:
                return allowed
            failure = Unavailable(f"{self.url}: its address is not public")
        except TimeoutError:
            failure = Timeout(f"{self.url}: its name was not looked up in time")
        except OSError as error:
            failure = Unavailable(f"{self.url}: {error}")
        raise failure

    def _connect_to(self, address: Address, deadline: _Deadline, timeout_s: float) -> _Timed:
        family, kind, protocol, _, where = address
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(timeout_s)
            sock.connect(where)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return _Timed(self._secure(sock, deadline))
        except BaseException:
            sock.close()
            raise

    def _secure(self, sock: socket.socket, deadline: _Deadline) -> socket.socket:
        if self._tls is None:
            return sock
        secure = self._tls.wrap_socket(sock, server_hostname=self._host, do_handshake_on_connect=False)
        try:
            secure.settimeout(0)
            while True:
                try:
                    secure.do_handshake()
                    return secure
                except ssl.SSLWantReadError:
                    _wait(secure, selectors.EVENT_READ, deadline.left())
                except ssl.SSLWantWriteError:
                    _wait(secure, selectors.EVENT_WRITE, deadline.left())
        except BaseException:
            secure.close()
            raise

    # ---- one request ----

    def _exchange(
        self,
        timed: _Timed,
        deadline: _Deadline,
        method: str,
        path: str,
        headers: dict[str, str],
        body: bytes | None,
        max_bytes: int,
    ) -> Response:
        timed.deadline = deadline
        timed.room = _MAX_HEADS + max_bytes + max_bytes // 8
        connection = http.client.HTTPConnection(self._host, self._port)
        connection.sock = timed
        failure: KmsError
        try:
            connection.request(method, self._path + path, body=body, headers=headers)
            answer = connection.getresponse()
            content = _read(answer, max_bytes) if answer.status == _OK else _read_error(answer)
            whole = Response(answer.status, answer.headers, content)
            # Of an error, there may be more.
            reusable = not answer.will_close and (answer.status == _OK or len(content) < _MAX_ERROR)
            answer.close()
            if reusable:
                self._keep(timed)
            else:
                timed.shut()
            return whole
        except TimeoutError:
            failure = Timeout(f"{self.url}: no complete answer in time", sent=True)
        except (ConnectionError, http.client.IncompleteRead, http.client.RemoteDisconnected) as error:
            failure = Unavailable(f"{self.url}: {_why(error)}", sent=True)
        except (http.client.HTTPException, ValueError, ssl.SSLError) as error:
            failure = ProtocolViolation(f"{self.url}: the answer is not HTTP: {type(error).__name__}", sent=True)
        except _TooLarge:
            failure = ProtocolViolation(f"{self.url}: an answer of more than {max_bytes} bytes", sent=True)
        except OSError as error:
            failure = Unavailable(f"{self.url}: {_why(error)}", sent=True)
        timed.shut()
        raise failure


def _read_error(answer: http.client.HTTPResponse) -> bytearray:
    """The beginning of an error's body: nobody has signed it, so that little of it is read."""
    declared = answer.length
    content = bytearray()
    while len(content) < _MAX_ERROR and (piece := answer.read(_MAX_ERROR - len(content))):
        content += piece
    if declared is not None and len(content) < min(declared, _MAX_ERROR):
        raise http.client.IncompleteRead(b"")
    return content


def _read(answer: http.client.HTTPResponse, max_bytes: int) -> bytearray:
    declared = answer.length
    if declared is not None and declared > max_bytes:
        raise _TooLarge
    content = bytearray()
    while piece := answer.read(_PIECE):
        content += piece
        if len(content) > max_bytes:
            raise _TooLarge
    if declared is not None and len(content) != declared:
        raise http.client.IncompleteRead(b"")
    return content


def _wait(sock: socket.socket, event: int, timeout_s: float) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(sock, event)
        return bool(selector.select(timeout_s))


def _has_ended(sock: socket.socket) -> bool:
    """Whether an idle connection has something to read: its end, or what nobody has asked for."""
    try:
        return _wait(sock, selectors.EVENT_READ, 0)
    except (OSError, ValueError):
        return True


def _is_public(address: str) -> bool:
    parsed = ipaddress.ip_address(address.partition("%")[0])
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return (mapped or parsed).is_global and not parsed.is_multicast


def _why(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno in errno.errorcode:
        return f"{error.strerror}"
    return {"IncompleteRead": "the answer broke off", "RemoteDisconnected": "the connection closed before an answer"}.get(
        type(error).__name__, type(error).__name__
    )


def parse_url(url: str) -> tuple[str, bool, str, int, str]:
    """Returns the URL without slashes at its end, whether it is https, host, port, path."""
    failed = not isinstance(url, str) or len(url) > _MAX_URL or bool(_ODD.search(url))
    try:
        parts = urlsplit("" if failed else url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if failed or host is None or parts.scheme not in ("http", "https") or port == 0:
        raise InvalidRequest("not the URL of a node: http or https, without user name, query and fragment")
    https = parts.scheme == "https"
    path = parts.path.rstrip("/")
    return f"{parts.scheme}://{parts.netloc}{path}", https, host, port or (443 if https else 80), path
