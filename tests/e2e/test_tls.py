"""Modbus/TCP Security from the real process, with the files that `obisgate tls` makes."""

import shutil
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import PATIENCE_S, Client, Running, obisgate

CONFIG = """
meters:
  house: {source: "simulator:kaifa-ma309m"}
listeners:
  - tls: 127.0.0.1:0
    certificate: tls/server.crt
    key: tls/server.key
    clients_ca: tls/ca.crt
    roles: [reader]
    units:
      1: {meter: house, map: sunspec_203}
"""


def context(folder: Path, name: str) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    made.load_cert_chain(folder / f"{name}.crt", folder / f"{name}.key")
    return made


def connect(port: int, tls: ssl.SSLContext) -> Client:
    client = Client(port)
    client.socket = tls.wrap_socket(client.socket, server_hostname="localhost")
    return client


def test_a_client_with_a_role_reads_and_others_are_refused(
    start: Callable[[str], Running], tmp_path: Path
) -> None:
    folder = tmp_path / "tls"
    for words in (("init",), ("client", "guest", "--role", "guest")):
        done = obisgate("tls", words[0], str(folder), *words[1:])
        assert (done.returncode, done.stderr) == (0, "")
    running = start(CONFIG)
    [listener] = [event for event in running.seen if event["event"] == "listener"]
    assert listener["transport"] == "tls"

    client = connect(running.port, context(folder, "client"))
    assert client.read(1, 40000, 2) == b"SunS"

    guest = connect(running.port, context(folder, "guest"))
    assert guest.socket.recv(100) == b"", "closed in order, before any request"
    guest.close()
    running.message("it has the role 'guest', which 'roles' does not name")

    # Renewed while it runs.
    for name in ("server.crt", "server.key"):
        (folder / name).unlink()
    assert obisgate("tls", "server", str(folder)).returncode == 0
    running.message("certificates loaded, valid until")
    assert client.read(1, 40000, 2) == b"SunS"
    client.close()
    client = connect(running.port, context(folder, "client"))
    assert client.read(1, 40000, 2) == b"SunS"
    client.close()
    assert running.stop() == ""


def test_check_shows_where_a_file_of_tls_is_not_good(tmp_path: Path) -> None:
    assert obisgate("tls", "init", str(tmp_path / "tls")).returncode == 0
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG)
    done = obisgate("check", str(config))
    assert (done.returncode, done.stderr) == (0, "")
    (tmp_path / "tls" / "server.key").chmod(0o644)
    done = obisgate("check", str(config))
    assert done.returncode == 1
    assert f"{config}:7:10: key file {tmp_path}/tls/server.key can be read by others" in done.stderr


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is missing")
def test_openssl_accepts_what_tls_init_makes(tmp_path: Path) -> None:
    assert obisgate("tls", "init", str(tmp_path)).returncode == 0
    for purpose, name in (("sslserver", "server"), ("sslclient", "client")):
        done = subprocess.run(
            [
                *("openssl", "verify", "-x509_strict", "-purpose", purpose),
                *("-CAfile", tmp_path / "ca.crt", tmp_path / f"{name}.crt"),
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )
        assert done.returncode == 0, done.stdout + done.stderr
