"""The client with nodes that forget, end sessions, are busy or not there, and from several threads at once."""

import gc
import pickle
import threading
import time
import unittest
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest import mock

import nova_kms as kms
from locks import Locks
from servers import FakeNode, reply

MESSAGE = "/session/message"


class Case(unittest.TestCase):
    def setUp(self) -> None:
        self.identity = kms.Identity.from_seed(b"a" * 32)

    def node(self, **more: int) -> FakeNode:
        node = FakeNode(self.identity, **more)
        self.addCleanup(node.close)
        return node

    def client(self, *nodes: FakeNode, **more: Any) -> kms.Client:
        client = kms.Client([node.url for node in nodes], self.identity, **more)
        self.addCleanup(client.close)
        return client


class Sessions(Case):
    def test_threads_share_one_and_no_number(self) -> None:
        node = self.node()
        client = self.client(node)
        barrier = threading.Barrier(8)

        def work(_: int) -> None:
            barrier.wait()
            for _ in range(20):
                with client.derive("p", length=5) as key:
                    self.assertEqual(b"AAAAA", bytes(key))

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))
        self.assertEqual((1, 160), (node.count("/session"), node.count(MESSAGE)))
        self.assertEqual(list(range(1, 161)), sorted(seq for _, seq in node.seqs))

    def test_threads_share_an_opening_that_fails(self) -> None:
        node, locks, held = self.node(), Locks(), threading.Event()
        with locks:
            client = self.client(node)
        client.derive("p")
        client.close()
        self.addCleanup(held.set)

        def rule(path: str) -> bytes | None:
            if path != "/session":
                return None
            held.wait(60)
            return reply(b"{}", "500 Error")

        def work(_: int) -> None:
            with self.assertRaises(kms.NoSession):
                client.derive("p")

        node.rule = rule
        with ThreadPoolExecutor(8) as pool:
            done = pool.map(work, range(8))
            self.assertTrue(locks.wait_for(7))
            held.set()
            list(done)
        self.assertEqual(2, node.count("/session"))

    def test_is_opened_anew_where_the_node_has_forgotten_it(self) -> None:
        node = self.node()
        client = self.client(node)
        client.derive("p")
        node.forget()
        client.derive("p")
        self.assertEqual((2, 3), (node.count("/session"), node.count(MESSAGE)))
        node.forget()
        with self.assertRaises(kms.OutcomeUnknown):
            client.put("k", b"v")
        self.assertEqual(4, node.count(MESSAGE))

    def test_is_not_used_to_its_last_second(self) -> None:
        node = self.node(expires_s=1000)
        client = self.client(node)
        now = time.monotonic()
        for later, opened in ((0, 1), (220, 1), (440, 1), (666, 2), (891, 2), (1100, 2), (1300, 2), (1500, 2), (1567, 3)):
            with mock.patch("nova_kms._sessions.time.monotonic", return_value=now + later):
                client.derive("p")
            self.assertEqual(opened, node.count("/session"), later)

    def test_is_given_up_when_the_client_is_closed_and_named_at_the_next_opening(self) -> None:
        node = self.node()
        client = self.client(node)
        client.derive("p")
        client.close()
        client.close()
        client.derive("p")
        self.assertEqual(2, node.count("/session"))
        self.assertEqual([], client._now()[0].sessions._given_up)


class Waiting(Case):
    def busy(self, node: FakeNode, times: int, wait_s: int = 1, path: str = MESSAGE) -> None:
        left = [times]

        def rule(asked: str) -> bytes | None:
            if asked != path or left[0] == 0:
                return None
            left[0] -= 1
            return reply(b'{"code":"rate_limited","message":"later"}', "429 Many", f"Retry-After: {wait_s}")

        node.rule = rule

    def test_waits_as_long_as_its_patience_goes(self) -> None:
        for path in (MESSAGE, "/session"):
            node = self.node()
            client = self.client(node, patience_s=10)
            self.busy(node, 2, 4, path)
            with mock.patch("nova_kms.client.time.sleep") as sleep:
                client.derive("p")
            self.assertEqual([4, 4], [call.args[0] for call in sleep.call_args_list])
            self.busy(node, 3, 4, path)
            client.close()
            with mock.patch("nova_kms.client.time.sleep") as sleep, self.assertRaises(kms.Unavailable) as caught:
                client.derive("p")
            self.assertEqual((2, 429, 4), (sleep.call_count, caught.exception.status, caught.exception.retry_after_s))

    def test_has_none_unless_it_is_told_so(self) -> None:
        node = self.node()
        client = self.client(node)
        self.busy(node, 1)
        with mock.patch("nova_kms.client.time.sleep") as sleep, self.assertRaises(kms.Unavailable):
            client.derive("p")
        self.assertEqual(0, sleep.call_count)

    def test_a_batch_waits_for_what_a_node_is_too_busy_for(self) -> None:
        node = self.node()
        client = self.client(node, patience_s=5)
        self.busy(node, 1, 2)
        with mock.patch("nova_kms.client.time.sleep"):
            outcomes = client.batch([kms.Derive("p", length=i) for i in (1, 2)] + [kms.Get("k")])
        self.assertEqual([1, 2], [len(outcome.key) for outcome in outcomes if isinstance(outcome, kms.Derived)])
        self.assertIsInstance(outcomes[2], kms.NotFound)

    def test_a_write_that_may_have_been_made_is_not_sent_again(self) -> None:
        for status, retry_writes, sends in ((429, False, 2), (503, False, 1), (503, True, 2)):
            node = self.node()
            client = self.client(node, patience_s=5, retry_writes=retry_writes)
            refusal = {"status": status, "code": "service_unavailable", "message": "too few copies", "retry_after_s": 1}
            made = {"status": 200, "app_id": 7, "key": "k", "updated_at_ms": 1}
            with (
                mock.patch.object(node, "_result", side_effect=[refusal, made]) as results,
                mock.patch("nova_kms.client.time.sleep"),
            ):
                outcome = client.batch([kms.Put("k", b"v")])[0]
            self.assertEqual((sends, sends == 2), (results.call_count, isinstance(outcome, kms.Written)), status)
        # Where nothing was sent, it is.
        node = self.node()
        client = self.client(node, patience_s=5)
        node.rule = lambda path: reply(b"{}", "503 Busy") if path == "/session" and node.count(path) == 1 else None
        with mock.patch("nova_kms.client.time.sleep") as sleep:
            client.batch([kms.Put("k", b"v")])
        self.assertEqual((1, 1), (sleep.call_count, node.count(MESSAGE)))

    def test_what_would_come_behind_a_later_write_of_its_key_is_not_sent_again(self) -> None:
        node = self.node()
        client = self.client(node, patience_s=5)
        asked: list[tuple[str, str]] = []

        def result(members: dict[str, Any]) -> dict[str, Any]:
            asked.append((members["op"], members["key"]))
            if len(asked) in (1, 2, 4, 5):  # the first put and the get of a, both of b
                return {"status": 429, "code": "rate_limited", "message": "later", "retry_after_s": 1}
            if members["op"] == "delete":
                return {"status": 200, "app_id": 7, "key": members["key"], "deleted": True}
            return {"status": 200, "app_id": 7, "key": members["key"], "updated_at_ms": 1}

        puts = [kms.Put("a", b"1"), kms.Put("a", b"2"), kms.Put("b", b"1")]
        with mock.patch.object(node, "_result", side_effect=result), mock.patch("nova_kms.client.time.sleep"):
            outcomes = client.batch([puts[0], kms.Get("a"), *puts[1:], kms.Delete("b")])
        kinds = [kms.Unavailable, kms.Unavailable, kms.Written, kms.Written, kms.Deleted]
        self.assertEqual(kinds, [type(outcome) for outcome in outcomes])
        self.assertEqual([("put", "b"), ("delete", "b")], asked[5:])

    def test_pauses_longer_each_time_before_the_only_node_is_called_again(self) -> None:
        node = self.node()
        client = self.client(node)
        node.rule = lambda path: b"x\r\n\r\n" if path == MESSAGE else None
        with mock.patch("nova_kms._delivery.time.sleep") as sleep, self.assertRaises(kms.ProtocolViolation):
            client.derive("p")
        pauses = [call.args[0] for call in sleep.call_args_list]
        self.assertEqual(3, len(pauses))
        for number, pause in enumerate(pauses, 1):
            self.assertTrue(0.05 * 2**number / 2 <= pause <= 0.05 * 2**number)
        self.assertEqual(4, node.count(MESSAGE))


class Listings(Case):
    def test_pages_that_do_not_end_are_refused(self) -> None:
        for pages, asked in (([""], 1), (["a", "a"], 2), (["b", "a"], 2)):
            node = self.node()
            client = self.client(node)
            answers = [{"status": 200, "app_id": 7, "keys": [], "count": 0, "next": after} for after in pages]
            with mock.patch.object(node, "_result", side_effect=answers) as results, self.assertRaises(kms.ProtocolViolation):
                list(client.list_keys())
            self.assertEqual(asked, results.call_count)


class Several(Case):
    def test_one_in_trouble_is_called_after_the_others_for_a_while(self) -> None:
        first, second, third = self.node(), self.node(), self.node()
        client = self.client(first, second, third)
        first.rule = second.rule = lambda path: b"x\r\n\r\n"
        client.derive("p")
        self.assertEqual((1, 1), (third.count("/session"), third.count(MESSAGE)))
        entries = client._now()
        self.assertEqual([True, True, False], [entry.rests() for entry in entries])
        # Where all are in trouble, those that rest are called, too.
        first.rule = lambda path: None
        third.rule = lambda path: b"x\r\n\r\n"
        client.derive("p")
        self.assertEqual(1, first.count(MESSAGE))
        self.assertEqual([False, True, True], [entry.rests() for entry in entries])

    def test_rests_are_longer_each_time_up_to_a_minute(self) -> None:
        entry = self.client(self.node())._now()[0]
        now = time.monotonic()
        with mock.patch("nova_kms._delivery.time.monotonic", return_value=now):
            for most in (1, 2, 4, 8, 16, 32, 60, 60):
                entry.trouble()
                self.assertTrue(most / 2 <= entry._rests_until - now <= most)
            entry.fine()
            self.assertFalse(entry.rests())

    def test_come_from_a_source_that_is_read_again(self) -> None:
        first, second = self.node(), self.node()

        class Source:
            listed: Sequence[kms.Node] = [kms.Node(first.url)]
            fails, reads = False, 0

            def nodes(self) -> Sequence[kms.Node]:
                self.reads += 1
                if self.fails:
                    raise kms.Unavailable("the chain does not answer")
                return self.listed

        source = Source()
        client = kms.Client(source, self.identity)
        self.addCleanup(client.close)
        now = time.monotonic()

        def derive_at(later: float) -> None:
            with mock.patch("nova_kms.client.time.monotonic", return_value=now + later):
                client.derive("p")

        derive_at(0)
        derive_at(50)
        self.assertEqual((1, 1), (source.reads, first.count("/session")))
        derive_at(61)
        self.assertEqual((2, 1), (source.reads, first.count("/session")))
        source.listed = [kms.Node(second.url)]
        derive_at(122)
        self.assertEqual((1, 1), (second.count("/session"), first.count("/session")))
        # A list that cannot be read again is good for three minutes.
        source.fails, source.reads = True, 0
        for later, reads in ((183, 1), (187, 1), (189, 2), (300, 3)):
            derive_at(later)
            self.assertEqual(reads, source.reads, later)
        with self.assertRaises(kms.Unavailable):
            derive_at(303)
        source.fails, source.listed = False, []
        with self.assertRaisesRegex(kms.Unavailable, "there is no node"):
            derive_at(304)


class _Stuck:
    """A source that gives its nodes, or fails without any, once it is freed."""

    def __init__(self, *nodes: kms.Node) -> None:
        self._nodes, self.reads = nodes, 0
        self.come, self.free = threading.Semaphore(0), threading.Event()

    def nodes(self) -> Sequence[kms.Node]:
        self.reads += 1
        self.come.release()
        self.free.wait()
        if self._nodes:
            return self._nodes
        raise kms.Unavailable("the chain does not answer")


class Readings(Case):
    """Of a source, by several threads."""

    def start(self, source: _Stuck) -> tuple[kms.Client, Locks]:
        with Locks() as locks:
            client = kms.Client(source, self.identity)
        self.addCleanup(client.close)
        self.addCleanup(source.free.set)
        return client, locks

    def test_those_who_wait_for_a_list_share_what_comes_of_the_reading(self) -> None:
        waiting = 4
        source = _Stuck()
        client, locks = self.start(source)
        with ThreadPoolExecutor(waiting + 1) as pool:
            calls = [pool.submit(client.batch, [kms.Derive("p")]) for _ in range(waiting + 1)]
            self.assertTrue(locks.wait_for(waiting))
            self.assertTrue(source.come.acquire(timeout=60))
            source.free.set()
            for call in calls:
                self.assertIsInstance(call.result()[0], kms.Unavailable)
        self.assertEqual(1, source.reads)

    def test_who_has_a_list_does_not_wait_for_the_next_one(self) -> None:
        source = _Stuck(kms.Node(self.node().url))
        client, _ = self.start(source)
        source.free.set()
        client.derive("p")
        source.free.clear()
        later = time.monotonic() + 61
        with mock.patch("nova_kms.client.time.monotonic", return_value=later), ThreadPoolExecutor(1) as pool:
            reader = pool.submit(client.derive, "p")
            for _ in range(2):
                self.assertTrue(source.come.acquire(timeout=60))
            with mock.patch("nova_kms.client.time.monotonic", return_value=later + 10):
                client.derive("p")  # while it is read
            self.assertFalse(reader.done())
            source.free.set()
            reader.result()
        self.assertEqual(2, source.reads)


class Shown(Case):
    def test_no_error_and_no_repr_has_a_secret_or_a_name(self) -> None:
        node = self.node()
        client = self.client(node)
        hush = "hush-hush"
        for rule in (lambda path: None, lambda path: b"x\r\n\r\n", lambda path: reply(b"{}", "410 Gone")):
            node.rule = rule
            for operation in (kms.Put(hush, hush.encode()), kms.Get(hush), kms.Delete(hush), kms.Derive("p" + "\0", hush)):
                outcome = client.batch([operation])[0]
                self.assertNotIn(hush, f"{outcome!r} {outcome} {vars(outcome)}" if isinstance(outcome, kms.KmsError) else "")
                if isinstance(outcome, kms.KmsError):
                    self.assertIsNone(outcome.__cause__)
        self.assertNotIn((b"a" * 32).hex(), repr(client) + repr(self.identity))

    def test_a_client_keeps_no_value_of_a_call_that_failed(self) -> None:
        class Value(bytearray):
            pass

        def fails(path: str) -> bytes:
            return reply(b"{}", "500 Error")

        node = self.node()
        node.rule = fails
        source = _Stuck()
        source.free.set()
        for client in (self.client(node), kms.Client(source, self.identity)):
            value = Value(b"v")
            gone = weakref.ref(value)
            try:
                client.put("k", value)
            except kms.KmsError:
                pass  # assertRaises would clear the frames of the call
            else:
                self.fail("it did not fail")
            del value
            gc.collect()
            self.assertIsNone(gone())

    def test_errors_go_from_one_process_to_another(self) -> None:
        errors: list[kms.KmsError] = [
            kms.InvalidRequest("no"),
            kms.NotFound(404, "not_found", "none", authentic=True),
            kms.Unavailable("busy", status=503, retry_after_s=7, authentic=True, sent=True),
            kms.Timeout("late"),
            kms.NoSession("plain", http_status=403),
            kms.OutcomeUnknown("lost"),
            kms.ProtocolViolation("odd", sent=True),
        ]
        for error in errors:
            other = pickle.loads(pickle.dumps(error))
            self.assertEqual((type(error), str(error), vars(error)), (type(other), str(other), vars(other)))

    def test_wrong_arguments(self) -> None:
        nodes: list[Any] = [
            [],
            "nonsense",
            kms.Node("http://a", "0x12"),
            kms.Node("http://a", None, "00" * 120),
            kms.Node("http://a", None, "04" + "11" * 96),
        ]
        for node in nodes:
            with self.assertRaises(kms.InvalidRequest, msg=str(node)):
                kms.Client(node, self.identity)
        options: list[dict[str, Any]] = [
            {"timeout_s": 0},
            {"timeout_s": 86401},
            {"patience_s": -1},
            {"max_answer_bytes": 1023},
            {"max_answer_bytes": (1 << 30) + 1},
        ]
        for option in options:
            with self.assertRaises(kms.InvalidRequest, msg=str(option)):
                kms.Client("http://a", self.identity, **option)
