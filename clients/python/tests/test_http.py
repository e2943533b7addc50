"""HTTP to servers that are slow, break off, say too much or something else."""

import socket
import threading
import time
import unittest
from collections.abc import Callable
from typing import Any
from unittest import mock

from nova_kms import InvalidRequest, KmsError, ProtocolViolation, Timeout, Unavailable
from nova_kms._http import Response, Server, parse_url
from servers import Server as Fake
from servers import reply

ENOUGH_S = 30.0  # a test that takes longer fails


class Http(unittest.TestCase):
    def serve(self, *answers: bytes) -> tuple[Fake, Server]:
        """A server that says these to its requests, one after the other, the last one again."""
        rest = list(answers)

        def handler(connection: socket.socket, line: bytes, headers: dict[str, str], body: bytes) -> None:
            self.requests.append((line, headers, body))
            connection.sendall(rest.pop(0) if len(rest) > 1 else rest[0])

        self.requests: list[tuple[bytes, dict[str, str], bytes]] = []
        fake = Fake(handler)
        self.addCleanup(fake.close)
        server = Server(fake.url)
        self.addCleanup(server.close)
        return fake, server

    def get(self, server: Server, timeout_s: float = ENOUGH_S, max_bytes: int = 1000, method: str = "GET") -> Response:
        return server.request(method, "/path", timeout_s=timeout_s, max_bytes=max_bytes)

    def refused(self, kind: type[KmsError], answer: bytes, **more: float) -> KmsError:
        def handler(connection: socket.socket, line: bytes, headers: dict[str, str], body: bytes) -> None:
            connection.sendall(answer)
            connection.shutdown(socket.SHUT_WR)

        fake = Fake(handler)
        self.addCleanup(fake.close)
        server = Server(fake.url)
        self.addCleanup(server.close)
        with self.assertRaises(kind, msg=repr(answer[:60])) as caught:
            self.get(server, **more)  # type: ignore[arg-type]
        self.assertTrue(caught.exception.sent)
        return caught.exception

    def look_up(self, found: Callable[[], list[Any]]) -> None:
        """Names, not addresses, are looked up by this function."""
        real = socket.getaddrinfo

        def asked(host: str, port: int, *, flags: int = 0, **more: Any) -> list[Any]:
            return list(real(host, port, flags=flags, **more)) if flags & socket.AI_NUMERICHOST else found()

        patch = mock.patch("socket.getaddrinfo", asked)
        patch.start()
        self.addCleanup(patch.stop)

    def test_a_look_up_of_a_name_that_hangs_ends_in_time_and_is_made_once(self) -> None:
        free, looked_up = threading.Event(), []
        fake, _ = self.serve(reply(b"a"))

        def hang() -> list[Any]:
            looked_up.append(1)
            free.wait(60)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", fake.port))]

        self.look_up(hang)
        server = Server("http://kms.example")
        self.addCleanup(server.close)
        self.addCleanup(free.set)
        begun = time.monotonic()
        for _ in range(3):
            with self.assertRaises(Timeout) as caught:
                self.get(server, 0.1)
            self.assertFalse(caught.exception.sent)
        self.assertLess(time.monotonic() - begun, ENOUGH_S)
        self.assertIn("its name was not looked up in time", str(caught.exception))
        self.assertEqual(1, len(looked_up))
        free.set()
        self.assertEqual(b"a", bytes(self.get(server).body))

    def test_a_name_without_an_address_is_said_to_have_none(self) -> None:
        def fail() -> list[Any]:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        self.look_up(fail)
        for url in ("http://kms.example", f"http://{'x' * 64}.example"):
            with self.assertRaises(Unavailable) as caught:
                self.get(Server(url))
            self.assertFalse(caught.exception.sent)
            self.assertIsNone(caught.exception.__context__)

    def test_an_address_that_cannot_be_reached_leaves_time_for_the_next_one(self) -> None:
        fake, _ = self.serve(reply(b"a"))
        # A listener whose queue is full answers nothing.
        with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
            taken = [socket.socket() for _ in range(4)]
            for one in taken:
                self.addCleanup(one.close)
                one.setblocking(False)
                one.connect_ex(full.getsockname())
            stream = (socket.SOCK_STREAM, 6, "")
            silent: tuple[Any, ...] = (socket.AF_INET, *stream, full.getsockname())
            unknown: tuple[Any, ...] = (4095, *stream, ("127.0.0.1", 1))  # a family that this system has not
            self.look_up(lambda: [unknown, silent, (socket.AF_INET, *stream, ("127.0.0.1", fake.port))])
            server = Server("http://kms.example")
            self.addCleanup(server.close)
            self.assertEqual(b"a", bytes(self.get(server, 10).body))

    def test_keeps_a_connection(self) -> None:
        fake, server = self.serve(reply(b"a"))
        for _ in range(3):
            self.assertEqual(b"a", bytes(self.get(server).body))
        self.assertEqual(1, fake.accepted)

    def test_reads_a_body_of_the_limit_and_none_beyond(self) -> None:
        self.assertEqual(1000, len(self.get(self.serve(reply(bytes(1000)))[1]).body))
        self.refused(ProtocolViolation, reply(bytes(1001)))
        chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1f4\r\n" + bytes(500) + b"\r\n"
        self.assertEqual(500, len(self.get(self.serve(chunks + b"0\r\n\r\n")[1]).body))
        self.refused(ProtocolViolation, chunks + b"1f5\r\n" + bytes(501) + b"\r\n0\r\n\r\n")
        self.refused(ProtocolViolation, b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + bytes(1001))

    def test_does_not_wait_for_a_body_that_is_announced_as_too_long(self) -> None:
        _, server = self.serve(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
        begun = time.monotonic()
        with self.assertRaises(ProtocolViolation):
            self.get(server, timeout_s=10 * ENOUGH_S)
        self.assertLess(time.monotonic() - begun, ENOUGH_S)

    def test_a_chunk_of_negative_length_is_not_read_without_end(self) -> None:
        sent, ended = 0, threading.Event()

        def handler(connection: socket.socket, line: bytes, headers: dict[str, str], body: bytes) -> None:
            nonlocal sent
            try:
                connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n")
                while sent < 100 << 20:
                    sent += connection.send(bytes(65536))
            finally:
                ended.set()

        fake = Fake(handler)
        self.addCleanup(fake.close)
        server = Server(fake.url)
        with self.assertRaises(ProtocolViolation):
            self.get(server)
        self.assertTrue(ended.wait(ENOUGH_S))
        self.assertLess(sent, 100 << 20)

    def test_heads_trailers_and_frames_of_chunks_are_bounded_together(self) -> None:
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        self.assertEqual(500, len(self.get(self.serve(head + b"1\r\nx\r\n" * 500 + b"0\r\n\r\n")[1]).body))
        for endless in (
            b"HTTP/1.1 100 Continue\r\n\r\n" * 20000,
            head + b"0\r\n" + b"a: b\r\n" * 60000,
            head + b"1;" + b"a" * 300000,
        ):
            self.refused(ProtocolViolation, endless)

    def test_reads_the_beginning_of_an_error_alone(self) -> None:
        long = reply(bytes(1 << 20), "503 Busy")
        fake, server = self.serve(long, long, reply(b"a"))
        self.assertEqual((503, 65536), self._status_and_size(server, 1 << 30))
        chunked = b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n100000\r\n" + bytes(1 << 20) + b"\r\n0\r\n\r\n"
        self.assertEqual((404, 65536), self._status_and_size(self.serve(chunked)[1], 1 << 30))
        self.assertEqual(503, self.get(server).status)
        self.assertEqual((200, 1), self._status_and_size(server, 1))
        self.assertEqual(3, fake.accepted)
        self.assertEqual((404, 65536), self._status_and_size(self.serve(reply(bytes(65536), "404 Not Found"))[1], 1))
        self.refused(Unavailable, b"HTTP/1.1 404 Not Found\r\nContent-Length: 10\r\n\r\nshort")

    def _status_and_size(self, server: Server, max_bytes: int) -> tuple[int, int]:
        response = self.get(server, max_bytes=max_bytes)
        return response.status, len(response.body)

    def test_what_is_no_answer(self) -> None:
        self.refused(Unavailable, b"")
        self.refused(Unavailable, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort")
        self.refused(Unavailable, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab")
        for answer in (
            b"hello\r\n\r\n",
            b"HTTP/1.1 abc OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200 + b"\r\n",
            b"HTTP/1.1 200 OK\r\na: " + b"b" * 70000 + b"\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        ):
            self.refused((ProtocolViolation, Unavailable), answer)  # type: ignore[arg-type]

    def test_ends_in_time_whatever_trickles_in(self) -> None:
        stopped = threading.Event()
        self.addCleanup(stopped.set)

        def handler(connection: socket.socket, line: bytes, headers: dict[str, str], body: bytes) -> None:
            while not stopped.wait(0.05):
                connection.sendall(b"x" if line.startswith(b"GET") else b"HTTP/1.1 100 Continue\r\n\r\n")

        fake = Fake(handler)
        self.addCleanup(fake.close)
        for method in ("GET", "POST"):
            server, begun = Server(fake.url), time.monotonic()
            self.addCleanup(server.close)
            with self.assertRaises(Timeout) as caught:
                self.get(server, timeout_s=3, method=method)
            self.assertTrue(caught.exception.sent)
            self.assertLess(time.monotonic() - begun, ENOUGH_S)

    def test_says_that_nothing_was_sent_where_there_is_no_connection(self) -> None:
        gone = socket.socket()  # keeps its port, and does not listen
        self.addCleanup(gone.close)
        gone.bind(("127.0.0.1", 0))
        for url in (f"http://127.0.0.1:{gone.getsockname()[1]}", "http://name.invalid"):
            with self.assertRaises(Unavailable) as caught:
                self.get(Server(url))
            self.assertFalse(caught.exception.sent)

    def test_follows_no_redirection_and_asks_no_proxy(self) -> None:
        _, server = self.serve(reply(b"", "307 Temporary Redirect", "Location: /elsewhere"))
        self.assertEqual(307, self.get(server).status)
        self.assertEqual([b"GET /path HTTP/1.1"], [line for line, _, _ in self.requests])

    def test_asks_once_more_only_where_nothing_can_be_done_twice(self) -> None:
        for method, requests in (("GET", 3), ("POST", 2)):
            seen: list[bytes] = []

            def handler(
                connection: socket.socket, line: bytes, headers: dict[str, str], body: bytes, seen: list[bytes] = seen
            ) -> None:
                seen.append(line)
                if len(seen) == 2:
                    connection.shutdown(socket.SHUT_RDWR)
                else:
                    connection.sendall(reply(b"a"))

            fake = Fake(handler)
            self.addCleanup(fake.close)
            server = Server(fake.url)
            self.addCleanup(server.close)
            self.get(server, method=method)
            if method == "GET":
                self.get(server)
            else:
                with self.assertRaises(Unavailable) as caught:
                    self.get(server, method=method)
                self.assertTrue(caught.exception.sent)
            self.assertEqual(requests, len(seen))

    def test_knows_only_one_header_of_a_name(self) -> None:
        response = self.get(self.serve(reply(b"", "200 OK", "A: 1", "B: 1", "b: 2"))[1])
        self.assertEqual(["1", None, None], [response.header(name) for name in ("a", "B", "C")])

    def test_reads_when_to_come_back(self) -> None:
        date = "Date: Sun, 06 Nov 1994 08:49:30 GMT"
        for lines, wait in (
            ((), None),
            (("Retry-After: 7",), 7),
            (("Retry-After: 99999999999999",), 999_999_999),
            (("Retry-After: -1",), None),
            (("Retry-After: soon",), None),
            (("Retry-After: Sun, 06 Nov 1994 08:49:37 GMT", date), 7),
            (("Retry-After: Sun, 06 Nov 1994 08:49:37 GMT",), 0),
        ):
            response = self.get(self.serve(reply(b"", "503 Busy", *lines))[1])
            self.assertEqual(wait, response.retry_after_s(), lines)

    def test_connects_to_public_addresses_only_where_told_so(self) -> None:
        fake, _ = self.serve(reply(b"a"))
        for url in (
            fake.url,
            "http://[::1]:1",
            "http://10.0.0.1:1",
            "http://169.254.169.254",
            "http://[::ffff:127.0.0.1]:1",
            "http://0.0.0.0:1",
            "http://224.0.0.1:1",
            "http://[fe80::1]:1",
        ):
            with self.assertRaisesRegex(Unavailable, "not public"):
                self.get(Server(url, public_only=True))
        self.assertEqual(0, fake.accepted)

    def test_a_path_that_is_secret_is_in_no_error(self) -> None:
        server = Server(self.serve(b"hello\r\n\r\n")[0].url + "/v3/key-of-mine", secret_path=True)
        with self.assertRaises(KmsError) as caught:
            self.get(server)
        self.assertNotIn("key-of-mine", str(caught.exception))
        self.assertEqual(b"GET /v3/key-of-mine/path HTTP/1.1", self.requests[0][0])

    def test_urls(self) -> None:
        self.assertEqual(("http://a:1/b", False, "a", 1, "/b"), parse_url("http://a:1/b//"))
        self.assertEqual(("https://a", True, "a", 443, ""), parse_url("https://a/"))
        self.assertEqual("::1", parse_url("http://[::1]:80")[2])
        for url in (
            "",
            "a",
            "ftp://a",
            "http://",
            "http:///b",
            "http://a:0",
            "http://a:65536",
            "http://a:b",
            "http://u:p@a",
            "http://a?b",
            "http://a#b",
            "http://a b",
            "http://a\r\nb",
            "http://ä",
            "http://a/" + "b" * 2048,
        ):
            with self.assertRaises(InvalidRequest, msg=url) as caught:
                parse_url(url)
            self.assertNotIn("u:p", str(caught.exception))
