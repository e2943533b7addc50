"""HTTPS: the certificate must be the server's, and a handshake ends in time."""

import datetime
import pathlib
import socket
import ssl
import tempfile
import threading
import unittest

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from nova_kms import Timeout, Unavailable
from nova_kms._http import Server
from servers import reply


def certificate(folder: pathlib.Path, name: str) -> pathlib.Path:
    """A file with a key, and the certificate that it signed for a name."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / name
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


class Tls(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def serve(self, file: pathlib.Path) -> int:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    try:
                        with context.wrap_socket(connection, server_side=True) as secure:
                            while secure.recv(65536):
                                secure.sendall(reply(b"hello"))
                    except OSError:
                        pass

        threading.Thread(target=serve, daemon=True).start()
        self.addCleanup(lambda: listener.shutdown(socket.SHUT_RDWR))
        return int(listener.getsockname()[1])

    def get(self, port: int, trusted: pathlib.Path | None, timeout_s: float = 30) -> bytes:
        tls = ssl.create_default_context(cafile=str(trusted)) if trusted else None
        server = Server(f"https://localhost:{port}", tls)
        self.addCleanup(server.close)
        return bytes(server.request("GET", "/", timeout_s=timeout_s, max_bytes=100).body)

    def test_takes_the_servers_certificate_and_no_other(self) -> None:
        good, other = certificate(self.folder, "localhost"), certificate(self.folder, "other.example")
        self.assertEqual(b"hello", self.get(self.serve(good), good))
        for served, trusted in ((good, other), (good, None), (other, other)):
            with self.assertRaises(Unavailable) as caught:
                self.get(self.serve(served), trusted)
            self.assertFalse(caught.exception.sent)

    def test_a_handshake_ends_in_time(self) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        with self.assertRaises(Timeout) as caught:
            self.get(listener.getsockname()[1], None, timeout_s=0.5)
        self.assertFalse(caught.exception.sent)
