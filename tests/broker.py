"""A real MQTT broker of the tests' own: mosquitto, on a free port."""

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from paho.mqtt import publish

PATIENCE_S = 30.0
# Debian puts it where only root looks for commands.
MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
MOSQUITTO_PASSWD = shutil.which("mosquitto_passwd")

needs_mosquitto = pytest.mark.skipif(
    MOSQUITTO is None, reason="mosquitto is missing: sudo apt-get install mosquitto"
)


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Broker:
    """A mosquitto that can be stopped, frozen and started again, always on the same port."""

    def __init__(self, folder: Path, *lines: str, password: tuple[str, str] | None = None) -> None:
        self.port = free_port()
        self._tls: dict[str, str] | None = None
        self._auth: dict[str, str] | None = None
        self._config = folder / "mosquitto.conf"
        written = [f"listener {self.port} 127.0.0.1", *lines]
        if os.geteuid() == 0:
            written.append("user root")  # else it becomes one who may not read the test's files
        if password:
            passwords = folder / "passwords"
            passwords.touch(mode=0o600)
            assert MOSQUITTO_PASSWD
            subprocess.run([MOSQUITTO_PASSWD, "-b", passwords, *password], check=True)
            written += ["allow_anonymous false", f"password_file {passwords}"]
            self._auth = {"username": password[0], "password": password[1]}
        else:
            written.append("allow_anonymous true")
        self._config.write_text("\n".join(written) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Broker":
        assert MOSQUITTO
        self._process = subprocess.Popen(
            [MOSQUITTO, "-c", self._config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until = time.monotonic() + PATIENCE_S
        while True:
            assert self._process.poll() is None, "mosquitto did not start"
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S).close()
            except ConnectionRefusedError:
                assert time.monotonic() < until
                time.sleep(0.02)
            else:
                return self

    def trust(self, ca: Path) -> None:
        """Publish over TLS from now on."""
        self._tls = {"ca_certs": str(ca)}

    def publish(self, topic: str, payload: bytes, *, qos: int = 0, retain: bool = False) -> None:
        publish.single(
            topic,
            payload,
            qos=qos,
            retain=retain,
            hostname="127.0.0.1",
            port=self.port,
            auth=self._auth,  # type: ignore[arg-type]
            tls=self._tls,  # type: ignore[arg-type]
        )

    def freeze(self) -> None:
        """Let it do nothing any more, with all connections open."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        if self._process:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
            self._process.wait(timeout=PATIENCE_S)
        self._process = None
