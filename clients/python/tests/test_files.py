"""Seed files, and the file of known nodes."""

import os
import pathlib
import tempfile
import unittest
import warnings

from nova_kms import Identity, InvalidRequest, KnownNodes

SEED = "5a" * 32
WALLET, OTHER = "0x" + "ab" * 20, "0x" + "cd" * 20


class Files(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def file(self, text: str, mode: int = 0o600) -> pathlib.Path:
        path = self.folder / "file"
        path.write_text(text)
        path.chmod(mode)
        return path


class Seeds(Files):
    def test_a_seed_gives_one_identity(self) -> None:
        loaded = Identity.from_seed_file(self.file(SEED + "\n"))
        self.assertEqual(Identity.from_seed(bytes.fromhex(SEED)).wallet, loaded.wallet)
        self.assertEqual(120, len(loaded.pubkey))
        self.assertNotIn(SEED, repr(loaded) + str(vars(loaded)))

    def test_others_are_refused_without_their_content(self) -> None:
        for text, mode in (
            (SEED, 0o600),
            (SEED[2:] + "\n", 0o600),
            (SEED + "\n\n", 0o600),
            (SEED + "00\n", 0o600),
            ("zz" * 32 + "\n", 0o600),
            ("", 0o600),
            (SEED + "\n", 0o640),
            (SEED + "\n", 0o604),
        ):
            with self.assertRaises(InvalidRequest) as caught:
                Identity.from_seed_file(self.file(text, mode))
            self.assertNotIn("5a5a", str(caught.exception))
        with self.assertRaises(InvalidRequest):
            Identity.from_seed(bytes(31))
        with self.assertRaises(InvalidRequest):
            Identity(bytes(32), bytes(48))
        with self.assertRaises(FileNotFoundError):
            Identity.from_seed_file(self.folder / "none")

    def test_makes_one_and_replaces_none(self) -> None:
        path = self.folder / "new"
        made = Identity.create_seed_file(path)
        self.assertEqual(0o600, path.stat().st_mode & 0o777)
        self.assertEqual(made.wallet, Identity.from_seed_file(path).wallet)
        with self.assertRaises(FileExistsError):
            Identity.create_seed_file(path)


class Known(Files):
    def test_remembers_in_a_file(self) -> None:
        path = self.folder / "state" / "known"
        known = KnownNodes(path)
        self.assertNotIn(WALLET, known)
        known.add(WALLET)
        known.add(WALLET)
        self.assertEqual(WALLET + "\n", path.read_text())
        self.assertEqual(0o600, path.stat().st_mode & 0o777)
        again = KnownNodes(path)
        self.assertIn(WALLET, again)
        self.assertNotIn(OTHER, again)

    def test_ends_a_line_that_an_editor_left_open(self) -> None:
        path = self.file(WALLET.upper().replace("X", "x"))
        known = KnownNodes(path)
        self.assertIn(WALLET, known)
        known.add(OTHER)
        self.assertEqual([WALLET, OTHER], path.read_text().lower().split())

    def test_refuses_what_others_can_write_or_nobody_understands(self) -> None:
        for text, mode in (
            (WALLET, 0o620),
            (WALLET, 0o602),
            ("x\n", 0o600),
            (WALLET[:-1], 0o600),
            (WALLET[2:], 0o600),
            ("\n" * ((1 << 20) + 1), 0o600),
        ):
            with self.assertRaises(InvalidRequest):
                KnownNodes(self.file(text, mode))
        self.file(WALLET)
        self.folder.chmod(0o777)
        with self.assertRaises(InvalidRequest):
            KnownNodes(self.folder / "file")
        self.folder.chmod(0o1777)
        self.assertIn(WALLET, KnownNodes(self.folder / "file"))

    def test_does_without_a_file_that_cannot_be_written(self) -> None:
        blocked = self.file("x")
        known = KnownNodes()
        known._path = blocked / "below"
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            known.add(WALLET)
        self.assertIn(WALLET, known)
        self.assertEqual(1, len(caught))

    def test_stands_where_the_command_line_has_it(self) -> None:
        before = os.environ.get("XDG_STATE_HOME")
        self.addCleanup(lambda: os.environ.update(XDG_STATE_HOME=before) if before else os.environ.pop("XDG_STATE_HOME"))
        os.environ["XDG_STATE_HOME"] = "/state"
        self.assertEqual(pathlib.Path("/state/nova-kms/known-nodes"), KnownNodes.default_path())
