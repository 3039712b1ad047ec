"""Debian's nginx with deploy/nginx/kirby.conf, on a port of this machine, with a certificate of its own."""

import ipaddress
import os
import ssl
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.e2e.compose_file import DEPLOY
from tests.eventually import eventually_sync

_AROUND = """
{user}
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
worker_processes 1;
events {{ worker_connections 256; }}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/kirby.conf;
}}
"""


@dataclass
class Nginx:
    folder: Path
    port: int
    api_port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}/kirby"

    def start(self) -> None:
        make_certificate(self.folder)
        replaced = {
            "listen 443 ssl": f"listen 127.0.0.1:{self.port} ssl",
            "server_name kirby.example.org": "server_name localhost",
            "/etc/nginx/tls": str(self.folder),
            "127.0.0.1:8080": f"127.0.0.1:{self.api_port}",
        }
        text = (DEPLOY / "nginx" / "kirby.conf").read_text()
        for theirs, ours in replaced.items():
            assert theirs in text, theirs
            text = text.replace(theirs, ours)
        (self.folder / "kirby.conf").write_text(text)
        user = "user root;" if os.geteuid() == 0 else ""
        (self.folder / "nginx.conf").write_text(_AROUND.format(folder=self.folder, user=user))
        log = (self.folder / "error.log").as_posix()
        self.process = subprocess.Popen(["/usr/sbin/nginx", "-e", log, "-c", str(self.folder / "nginx.conf")])
        eventually_sync((self.folder / "nginx.pid").exists, what="nginx up")

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(timeout=10)

    def trust(self) -> ssl.SSLContext:
        """What a client needs to believe the certificate."""
        return ssl.create_default_context(cafile=str(self.folder / "kirby.crt"))


def make_certificate(folder: Path) -> None:
    """A self-signed certificate for localhost, good for an hour."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(subject_name=name, issuer_name=name, public_key=key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "kirby.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "kirby.key").write_bytes(private)
