"""A server as it is started: what it listens at, TLS, and clients that are slow."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

import grpc
import httpx
import psutil
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mnemodex.deploy.key_file import Key, add_key, new_token, now

pytestmark = pytest.mark.slow

SEARCH = {"index": "words", "queries": ["keeper"], "k": 1}
SLOW = 40
"""Clients that send a byte a second, or less."""


def free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def write_certificate(folder):
    """A certificate for this machine that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    begins = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "key.pem").write_bytes(private)
    return folder / "cert.pem", folder / "key.pem"


class Server:
    """A server with TLS and a key in a process of its own."""

    def __init__(self, folder, memory):
        self.port = free_port()
        self.certificate, key = write_certificate(folder)
        self.token, digest = new_token()
        add_key(folder / "keys.json", Key(name="reader", sha256=digest, created=now(), scopes=["search"]))
        self._log = (folder / "server.log").open("w+")
        options = {
            "--port": self.port,
            "--keys": folder / "keys.json",
            "--tls-cert": self.certificate,
            "--tls-key": key,
            "--timeout": 5,
        }
        words = [str(word) for option in options.items() for word in option]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "mnemodex", "serve", str(memory), *words],
            stderr=self._log,
            stdout=self._log,
            start_new_session=True,
        )

    def wait(self):
        for _ in range(1200):
            if "ready" in self.log:
                return
            assert self._process.poll() is None, self.log
            time.sleep(0.25)
        raise AssertionError(self.log)

    @property
    def log(self):
        self._log.flush()
        return Path(self._log.name).read_text()

    def ask(self, path="/v1/search", **options):
        with httpx.Client(verify=ssl.create_default_context(cafile=self.certificate), timeout=60) as client:
            return client.post(f"https://127.0.0.1:{self.port}{path}", json=SEARCH, **options)

    @property
    def bearer(self):
        return {"Authorization": f"Bearer {self.token}"}

    def listening(self):
        """The addresses that its processes listen at, by the processes' names."""
        found = []
        for process in [self._process_info, *self._process_info.children(recursive=True)]:
            listening = [at.laddr for at in process.net_connections("inet") if at.status == psutil.CONN_LISTEN]
            found += [(process.name(), address) for address in listening]
        return found

    @property
    def _process_info(self):
        return psutil.Process(self._process.pid)

    def stop(self):
        parts = self._process_info.children(recursive=True) if self._process.poll() is None else []
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(60)
        finally:
            for part in psutil.wait_procs(parts, 20)[1]:
                part.kill()
            self._log.close()


@pytest.fixture(scope="module")
def server(library, tmp_path_factory):
    made = Server(tmp_path_factory.mktemp("served"), library)
    try:
        made.wait()
        yield made
    finally:
        made.stop()


class TestAServerWithACertificate:
    def test_answers_over_tls_alone(self, server):
        answer = server.ask(headers=server.bearer)
        assert answer.status_code == 200 and answer.json()["hits"][0]
        with pytest.raises(httpx.HTTPError):
            httpx.post(f"http://127.0.0.1:{server.port}/v1/search", json=SEARCH, headers=server.bearer, timeout=60)
        with pytest.raises(httpx.ConnectError, match="certificate"):
            httpx.post(f"https://127.0.0.1:{server.port}/v1/search", json=SEARCH, headers=server.bearer, timeout=60)

    def test_refuses_who_has_no_key(self, server):
        assert server.ask().status_code == 401
        assert server.ask(headers={"Authorization": "Bearer mnx_wrong"}).status_code == 401

    def test_is_asked_at_this_machine_alone(self, server):
        (address,) = {address.ip for _, address in server.listening() if address.port == server.port}
        assert ipaddress.ip_address(address).is_loopback

    @pytest.mark.parametrize("token", [None, "a" * 64])
    def test_lets_nobody_into_its_ray_without_the_token(self, server, token):
        (port,) = {address.port for name, address in server.listening() if name == "gcs_server"}
        given = None if token is None else [("authorization", f"Bearer {token}")]
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel, pytest.raises(grpc.RpcError) as refused:
            channel.unary_unary("/ray.rpc.NodeInfoGcsService/CheckAlive")(b"", timeout=30, metadata=given)
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED

    def test_has_no_key_in_its_log(self, server):
        server.ask(headers=server.bearer)
        assert server.token not in server.log


class TestSlowClients:
    def test_hold_up_nobody_else(self, server):
        head = f"POST /v1/search HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {server.token}\r\n"
        bodies = f"{head}Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
        context = ssl.create_default_context(cafile=server.certificate)
        stop = threading.Event()

        def trickle(first, rest):
            with (
                socket.create_connection(("127.0.0.1", server.port), timeout=60) as plain,
                context.wrap_socket(plain, server_hostname="localhost") as sent,
                contextlib.suppress(OSError),
            ):
                sent.sendall(first.encode())
                for letter in rest:
                    if stop.wait(1):
                        return
                    sent.sendall(letter.encode())

        kinds = [("", head * 10), (bodies, " " * 1000)] * (SLOW // 2)
        slow = [threading.Thread(target=trickle, args=kind) for kind in kinds]
        for thread in slow:
            thread.start()
        try:
            for _ in range(10):
                assert server.ask(headers=server.bearer).status_code == 200
        finally:
            stop.set()
            for thread in slow:
                thread.join()

    def test_that_do_not_send_their_body_in_time_are_refused(self, server):
        def slowly():
            for _ in range(20):
                yield b" "
                time.sleep(1)

        headers = {**server.bearer, "Content-Type": "application/json"}
        try:
            with httpx.Client(verify=ssl.create_default_context(cafile=server.certificate), timeout=60) as client:
                answer = client.post(f"https://127.0.0.1:{server.port}/v1/search", content=slowly(), headers=headers)
        except httpx.TransportError:
            return
        assert answer.status_code in {408, 400}, answer.text
