"""Codecs, secrets, errors and operations."""

import copy
import pickle
import traceback
import unittest
from typing import Any

import nova_kms as kms
from nova_kms._codec import Malformed, base64_decode, hex_decode, json_decode, json_encode
from nova_kms._delivery import _read_answer
from nova_kms.operations import MAX_NAME, MAX_VALUE, Members

HUSH = b"very secret indeed"


class Codecs(unittest.TestCase):
    def test_hexadecimal(self) -> None:
        for text, data in (("", b""), ("0x", b""), ("00fF", b"\0\xff"), ("0xAb", b"\xab")):
            self.assertEqual(data, hex_decode(text))
        for text in ("0", "0x0", "zz", " 00", "00\n", "0X00", "٠٠"):
            with self.assertRaises(Malformed, msg=text):
                hex_decode(text)
        with self.assertRaises(Malformed):
            hex_decode("00", 2)

    def test_base64_in_one_spelling(self) -> None:
        for text, data in (("", b""), ("YQ==", b"a"), ("YWI=", b"ab"), ("YWJj", b"abc"), ("+/+/", b"\xfb\xff\xbf")):
            self.assertEqual(data, bytes(base64_decode(text)))
        for text in ("YQ", "YQ=", "YR==", "YWJ=", "Y", "====", "YQ==\n", " YQ==", "-_-_", "YQ==YQ==", "YWJjä"):
            with self.assertRaises(Malformed, msg=text):
                base64_decode(text)

    def test_json_is_strict(self) -> None:
        self.assertEqual({"a": [1, "ä", None, True]}, json_decode('{"a":[1,"ä",null,true]}'.encode()))
        deep = b"[" * 16 + b"]" * 16
        self.assertIsInstance(json_decode(deep), list)
        for data in (
            b"",
            b"{",
            b'{"a":1,"a":2}',
            b"1.0",
            b"1e3",
            b"NaN",
            b"Infinity",
            b"\xff",
            b'"\\ud800"',
            b'{"\\ud800":1}',
            b"[" + deep + b"]",
            b"[" * 100_000,
            b"{} {}",
            b"9" * 5000,
            "\ufeff{}".encode(),
        ):
            with self.assertRaises(Malformed, msg=repr(data[:30])):
                json_decode(data)
        self.assertEqual('{"a":"ä/\\n","b":1}'.encode(), json_encode({"b": 1, "a": "ä/\n"}))

    def test_an_error_of_the_parser_does_not_carry_the_text(self) -> None:
        try:
            json_decode(b'{"value":"' + HUSH + b'"')
        except Malformed as error:
            self.assertIsNone(error.__context__)
            self.assertNotIn(HUSH.decode(), repr(vars(error)) + str(error))
        else:
            self.fail("not refused")


class Secrets(unittest.TestCase):
    def test_does_not_show_itself(self) -> None:
        secret = kms.Secret(HUSH)
        shown = [repr(secret), str(secret), f"{secret}", f"{secret!r:>40}", "%s" % secret, format(secret)]
        record = kms.Record(1, "k", secret, 2)
        shown += [repr(record), repr(kms.Derived(1, "p", secret)), repr(kms.Put("k", HUSH)), repr([secret])]
        for text in shown:
            self.assertNotIn("secret indeed", text)
        self.assertIn("18 bytes", repr(secret))

    def test_is_wiped(self) -> None:
        secret = kms.Secret(HUSH)
        view = memoryview(secret)
        with secret as same:
            self.assertIs(secret, same)
            self.assertEqual(HUSH, bytes(secret))
        self.assertEqual(bytes(len(HUSH)), bytes(view))
        with self.assertRaises(ValueError), kms.Secret(HUSH) as other:
            raise ValueError
        self.assertEqual(bytes(len(HUSH)), bytes(other))
        third = kms.Secret(HUSH)
        view = memoryview(third)
        third.__del__()
        self.assertEqual(bytes(len(HUSH)), bytes(view))

    def test_is_compared_and_neither_copied_nor_pickled(self) -> None:
        self.assertTrue(kms.Secret(b"a") == b"a" and kms.Secret(b"a") != b"b" and kms.Secret(b"a") != "a")
        with self.assertRaises(TypeError):
            hash(kms.Secret(b"a"))
        for make in (pickle.dumps, copy.copy, copy.deepcopy):
            with self.assertRaises(TypeError):
                make(kms.Secret(HUSH))
            with self.assertRaises(TypeError):
                make(kms.Identity.from_seed(bytes(32)))


class Errors(unittest.TestCase):
    def test_have_one_base(self) -> None:
        for kind in (
            kms.InvalidRequest,
            kms.Refused,
            kms.NotFound,
            kms.Unavailable,
            kms.Timeout,
            kms.NoSession,
            kms.OutcomeUnknown,
            kms.ProtocolViolation,
        ):
            self.assertTrue(issubclass(kind, kms.KmsError))

    def test_words_of_a_node_are_one_bounded_printable_line(self) -> None:
        error = kms.Refused(403, "no\x1b[31m", "a\r\nb" + "x" * 1000, authentic=True)
        self.assertNotRegex(str(error) + error.code, r"[\x00-\x1f]")
        self.assertLess(len(str(error)), 340)

    def test_of_arguments_hold_none_of_them(self) -> None:
        for operation in (
            kms.Put(HUSH.decode() * 10000, HUSH),
            kms.Put(HUSH.decode() + "\ud800", HUSH),
            kms.Derive(HUSH.decode(), HUSH.decode(), 2000),
            kms.Put("", HUSH),
        ):
            with self.assertRaises(kms.InvalidRequest) as caught:
                operation.check()
            shown = "".join(traceback.format_exception(caught.exception)) + repr(vars(caught.exception))
            self.assertNotIn(HUSH.decode(), shown)


class Operations(unittest.TestCase):
    def test_limits(self) -> None:
        good: list[kms.Operation] = [
            kms.Derive("p", length=1),
            kms.Derive("p", length=1024),
            kms.Get("a" * MAX_NAME),
            kms.Get("ä" * (MAX_NAME // 2)),
            kms.Put("k", bytes(MAX_VALUE)),
            kms.Put("k", memoryview(b"a"), 0),
            kms.List(limit=1),
            kms.List(limit=10000),
            kms.List("a" * MAX_NAME, "a" * MAX_NAME),
            kms.Delete("k\0"),
        ]
        for operation in good:
            operation.check()
        wrong: Any = [b"p", None, 1]
        bad: list[kms.Operation] = [
            kms.Derive("p", length=0),
            kms.Derive("p", length=1025),
            kms.Derive("p", length=True),
            kms.Derive(""),
            kms.Derive(wrong[0]),
            kms.Derive("p", wrong[1]),
            kms.Get("a" * (MAX_NAME + 1)),
            kms.Get("ä" * (MAX_NAME // 2) + "a"),
            kms.Get(""),
            kms.Get("\ud800"),
            kms.Put("k", bytes(MAX_VALUE + 1)),
            kms.Put("k", wrong[2]),
            kms.Put("k", b"", -1),
            kms.Put("k", b"", 1 << 63),
            kms.List(limit=0),
            kms.List(limit=10001),
            kms.List("a" * (MAX_NAME + 1)),
        ]
        for operation in bad:
            with self.assertRaises(kms.InvalidRequest, msg=type(operation).__name__):
                operation.check()

    def test_no_operation_and_no_result_shows_a_name(self) -> None:
        shown = [
            kms.Derive("name-1", "name-2"),
            kms.Put("name-1", HUSH),
            kms.Get("name-1"),
            kms.Delete("name-1"),
            kms.List("name-1", "name-2"),
            kms.Derived(7, "name-1", kms.Secret(HUSH)),
            kms.Written(7, "name-1", 1, None),
            kms.Record(7, "name-1", kms.Secret(HUSH), 1),
            kms.Deleted(7, "name-1", None),
            kms.Page(7, ["name-1"], "name-2"),
        ]
        self.assertNotIn("name-", repr(shown))
        self.assertIn("Derive(length=32)", repr(shown))

    def test_results_have_exactly_their_members(self) -> None:
        good: list[tuple[kms.Operation, Members]] = [
            (kms.Derive("p", length=1), {"app_id": 7, "path": "p", "key": "YQ==", "length": 1}),
            (kms.Put("k", b""), {"app_id": 7, "key": "k", "updated_at_ms": 1}),
            (kms.Put("k", b""), {"app_id": 7, "key": "k", "updated_at_ms": 1, "copies": 2}),
            (kms.Get("k"), {"app_id": 7, "key": "k", "value": "YQ==", "updated_at_ms": 1}),
            (kms.Delete("k"), {"app_id": 7, "key": "k", "deleted": True}),
            (kms.List(), {"app_id": 7, "keys": ["a"], "count": 1}),
            (kms.List(), {"app_id": 7, "keys": ["a"], "count": 1, "next": "a"}),
        ]
        for operation, reply in good:
            operation.read(reply)
            for name in reply:
                if name not in ("copies", "next"):
                    self.refused(operation, {key: value for key, value in reply.items() if key != name})
                others: list[Any] = [None, "other", -1, [], 1.5, "YQ", True if name != "deleted" else 1]
                for other in others:
                    self.refused(operation, reply | {name: other}, f"{name}: {other!r}")
            self.refused(operation, reply | {"more": 1})
            for _, another in good:
                if another.keys() != reply.keys() and not {"copies", "next"} & (another.keys() ^ reply.keys()):
                    self.refused(operation, another)
        self.refused(kms.Put("k", b""), {"app_id": 7, "key": "k", "updated_at_ms": 1, "copies": 0})
        self.refused(kms.List(), {"app_id": 7, "keys": ["a"], "count": 2})
        self.refused(kms.List(), {"app_id": 7, "keys": [1], "count": 1})
        self.refused(kms.Derive("p", length=2), {"app_id": 7, "path": "p", "key": "YQ==", "length": 2})

    def refused(self, operation: kms.Operation, reply: Members, message: str = "") -> None:
        # A name that is a text, and a key of a listing, may be any.
        if isinstance(operation, kms.List) and reply.get("next") == "other":
            return
        if isinstance(operation, kms.List) and "next" in reply and reply["next"] in ("YQ", None):
            return
        with self.assertRaises(Malformed, msg=message or str(reply)):
            operation.read(reply)

    def test_answers_of_messages(self) -> None:
        one, two = [kms.Delete("k")], [kms.Delete("k"), kms.Delete("l")]
        done: Members = {"status": 200, "app_id": 7, "key": "k", "deleted": True}
        refusal: Members = {"status": 403, "code": "forbidden", "message": "no"}
        self.assertIsInstance(_read_answer(dict(done), one)[0], kms.Deleted)
        first, second = _read_answer([dict(done), dict(refusal)], two)
        self.assertIsInstance(first, kms.Deleted)
        self.assertIsInstance(second, kms.Refused)
        self.assertEqual(2, len(_read_answer(dict(refusal), two)))
        busy = _read_answer(refusal | {"status": 503, "retry_after_s": 4}, one)[0]
        assert isinstance(busy, kms.Unavailable)
        self.assertEqual((503, 4, True), (busy.status, busy.retry_after_s, busy.authentic))
        for wait in (999_999_999, 1_000_000_000, 10**400):
            busy = _read_answer(refusal | {"status": 503, "retry_after_s": wait}, one)[0]
            assert isinstance(busy, kms.Unavailable)
            self.assertEqual(999_999_999, busy.retry_after_s)
        # A result of something else is one operation's; the others stay.
        first, second = _read_answer([dict(done), dict(done)], two)
        self.assertIsInstance(second, kms.ProtocolViolation)
        for bad in ("x", [dict(done)], [dict(done)] * 3, dict(done), {"status": True}, {}):
            with self.assertRaises(Malformed, msg=str(bad)):
                _read_answer(bad, two)  # type: ignore[arg-type]
        for change in (
            {"code": 1},
            {"message": None},
            {"status": 299},
            {"status": 600},
            {"retry_after_s": -1},
            {"retry_after_s": "1"},
        ):
            outcome = _read_answer(refusal | change, one)[0]  # type: ignore[operator]
            self.assertIsInstance(outcome, kms.ProtocolViolation, str(change))
