"""Sessions without a network: what opens them, numbers, and what is no answer."""

import unittest

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from nova_kms._codec import Malformed, json_encode
from nova_kms._session import MAX_SEQ, SUITE, Opening, SessionKeys, agree

FF30, ZERO30 = "ff" * 30, "00" * 30
SMALL_ORDER = [  # https://cr.yp.to/ecdh.html
    "00" + ZERO30 + "00",
    "01" + ZERO30 + "00",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ec" + FF30 + "7f",
    "ed" + FF30 + "7f",
    "ee" + FF30 + "7f",
    "cdeb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b880",
    "4c9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f11d7",
    "d9" + FF30 + "ff",
    "da" + FF30 + "ff",
    "db" + FF30 + "ff",
]
SID, C2S, S2C = b"s" * 16, b"c" * 32, b"d" * 32


def keys(**more: int) -> SessionKeys:
    return SessionKeys(SID, C2S, S2C, **({"expires_s": 10, "max_operations": 256} | more))


def sealed(content: bytes, seq: int = 1, key: bytes = S2C, sid: bytes = SID) -> bytes:
    """An answer with any content."""
    label = seq.to_bytes(8, "big")
    return label + AESGCM(key).encrypt(bytes(4) + label, content, b"nova-kms" + sid + label)


def content(text: bytes, length: int | None = None) -> bytes:
    plain = bytes(8) + (len(text) if length is None else length).to_bytes(4, "big") + text
    return plain + bytes(-len(plain) % 256)


class Agreements(unittest.TestCase):
    def test_keys_of_small_order_and_other_spellings_are_refused(self) -> None:
        own = X25519PrivateKey.generate()
        self.assertEqual(12, len(SMALL_ORDER))
        for text in SMALL_ORDER:
            key = bytearray.fromhex(text)
            for top in (key[31], key[31] | 0x80):  # and with the bit that X25519 ignores
                key[31] = top
                with self.assertRaises(Malformed):
                    agree(own, bytes(key))
        good = X25519PrivateKey.generate().public_key().public_bytes_raw()
        self.assertEqual(32, len(agree(own, good)))
        for other in (good[:31], good + b"\0", good[:31] + bytes([good[31] | 0x80])):
            with self.assertRaises(Malformed):
                agree(own, other)

    def test_the_largest_coordinate_is_taken_and_the_next_one_is_not(self) -> None:
        field = (1 << 255) - 19
        own = X25519PrivateKey.generate()
        self.assertEqual(32, len(agree(own, (field - 2).to_bytes(32, "little"))))
        for number in (field, field + 2, (1 << 256) - 1):
            with self.assertRaises(Malformed):
                agree(own, number.to_bytes(32, "little"))

    def test_a_grant_of_something_else_opens_nothing(self) -> None:
        e = X25519PrivateKey.generate().public_key().public_bytes_raw().hex()
        good: dict[str, object] = {"e": e, "expires_s": 1, "max_operations": 1, "sid": "00" * 16, "suite": SUITE}
        self.assertEqual(bytes(16), Opening([]).finish(json_encode(good | {"more": 1}), b"", b"", b"").sid)
        for change in (
            {"suite": "x25519"},
            {"suite": None},
            {"e": SMALL_ORDER[0]},
            {"e": e[2:]},
            {"e": 1},
            {"sid": "00"},
            {"sid": None},
            {"expires_s": 0},
            {"expires_s": -1},
            {"expires_s": True},
            {"expires_s": "1"},
            {"max_operations": 0},
        ):
            with self.assertRaises(Malformed, msg=str(change)):
                Opening([]).finish(json_encode(good | change), b"", b"", b"")
        with self.assertRaises(Malformed):
            Opening([]).finish(b"[]", b"", b"", b"")

    def test_of_what_a_grant_says_only_so_much_counts(self) -> None:
        e = X25519PrivateKey.generate().public_key().public_bytes_raw().hex()
        for said, counts in (
            ((604_800, 256), (604_800, 256)),
            ((604_801, 257), (604_800, 256)),
            ((10**400, 10**400), (604_800, 256)),
            ((1, 1), (1, 1)),
        ):
            grant = {"e": e, "expires_s": said[0], "max_operations": said[1], "sid": "00" * 16, "suite": SUITE}
            session = Opening([]).finish(json_encode(grant), b"", b"", b"")
            self.assertEqual(counts, (session.expires_s, session.max_operations))

    def test_an_opening_names_what_was_given_up(self) -> None:
        self.assertIn(b'"ends":["' + b"61" * 16 + b'"]', Opening([b"a" * 16]).offer)
        self.assertNotIn(b"ends", Opening([]).offer)
        self.assertNotEqual(Opening([]).offer, Opening([]).offer)


class Messages(unittest.TestCase):
    def test_each_has_a_number_of_its_own_up_to_the_last(self) -> None:
        session = keys()
        self.assertEqual([1, 2, 3], [session.seal(b"{}", 0)[1] for _ in range(3)])
        session._seq = MAX_SEQ - 1
        self.assertEqual(MAX_SEQ, session.seal(b"{}", 0)[1])
        with self.assertRaises(OverflowError):
            session.seal(b"{}", 0)

    def test_lengths_are_in_steps(self) -> None:
        session = keys()
        for size, units in ((0, 1), (244, 1), (245, 2), (500, 2), (501, 3)):
            self.assertEqual(24 + 256 * units + 16, len(session.seal(b"x" * size, 0)[0]))

    def test_an_answer_is_opened(self) -> None:
        for text in (b"", b"{}", b"x" * 244, b"x" * 245):
            self.assertEqual(text, keys().open(sealed(content(text)), 1))

    def test_what_is_no_answer(self) -> None:
        good = sealed(content(b"{}"))
        answers = {
            "another number": sealed(content(b"{}"), 2),
            "another direction": sealed(content(b"{}"), key=C2S),
            "another session": sealed(content(b"{}"), sid=b"t" * 16),
            "nothing": b"",
            "a number": good[:8],
            "no tag": good[:-16],
            "too short": sealed(b"x" * 11),
            "not whole": sealed(content(b"{}")[:-1]),
            "no content": sealed(b""),
            "a length beyond it": sealed(content(b"{}", 245)),
            "a huge length": sealed(content(b"{}", 0xFFFFFFFF)),
            "padding": sealed(content(b"{}")[:-1] + b"x"),
            "more padding": sealed(content(b"{}") + bytes(256)),
        }
        for name, answer in answers.items():
            with self.assertRaises(Malformed, msg=name):
                keys().open(answer, 1)
        for at in range(len(good)):
            with self.assertRaises(Malformed, msg=str(at)):
                keys().open(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :], 1)
