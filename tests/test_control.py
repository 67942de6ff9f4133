"""The control socket: one question and one answer a line, for its own user, never in the way."""

import asyncio
import json
import os
import resource
import select
import socket
import stat
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from gateway import control
from gateway.control import ControlSocket, NoAnswerError, ask, find_socket, socket_path
from gateway.located import ConfigError

PATIENCE_S = 30.0


async def echo(question: Mapping[str, Any]) -> Mapping[str, object]:
    return {"config": "house.yaml", "pid": 4711, "asked": question}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    # pytest's folders are nearly as long as a socket's path may be.
    return tmp_path / "s.sock"


@contextmanager
def answered(path: Path, answer: control.Answer = echo) -> Iterator[None]:
    """Answer at `path` from a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    served = ControlSocket(path, answer)

    async def close() -> None:
        served.close()
        # The clients' tasks end before the loop does, some as they are cancelled.
        await asyncio.gather(
            *asyncio.all_tasks() - {asyncio.current_task()}, return_exceptions=True
        )

    try:
        asyncio.run_coroutine_threadsafe(served.open(), loop).result(PATIENCE_S)
        yield
    finally:
        asyncio.run_coroutine_threadsafe(close(), loop).result(PATIENCE_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE_S)
        loop.close()


def connected(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(PATIENCE_S)
    client.connect(str(path))
    return client


def line_of(client: socket.socket) -> dict[str, Any]:
    octets = b""
    while not octets.endswith(b"\n"):
        chunk = client.recv(65536)
        assert chunk, "closed without an answer"
        octets += chunk
    found = json.loads(octets)
    assert isinstance(found, dict)
    return found


def is_closed(client: socket.socket) -> bool:
    """Wait until the other end has closed it."""
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


def test_a_question_is_answered_in_one_line(path: Path) -> None:
    with answered(path):
        assert ask(path, {"ask": "status", "of": "Zähler"})["asked"] == {
            "ask": "status",
            "of": "Zähler",
        }


def test_only_its_own_user_can_open_it(path: Path) -> None:
    with answered(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_several_clients_ask_several_times_whatever_the_pieces(path: Path) -> None:
    with answered(path):
        clients = [connected(path) for _ in range(3)]
        for number in range(3):
            for client in clients:
                question = json.dumps({"ask": "status", "number": number}).encode() + b"\n"
                client.sendall(question[:5])
                client.sendall(question[5:])
            for client in clients:
                assert line_of(client)["asked"]["number"] == number
        for client in clients:
            client.close()


@pytest.mark.parametrize(
    "question", [b"hello", b"[]", b"{}", b'{"ask": 1}', b"\xff\xfe", b"[" * 3000, b""]
)
def test_what_is_no_question_is_told_how_one_looks(path: Path, question: bytes) -> None:
    with answered(path), connected(path) as client:
        client.sendall(question + b"\n")
        assert "a question looks like" in line_of(client)["error"]
        client.sendall(b'{"ask": "status"}\n')
        assert line_of(client)["pid"] == 4711


def test_a_line_without_an_end_is_refused_and_its_client_sent_away(path: Path) -> None:
    with answered(path), connected(path) as client:
        client.sendall(b"x" * (control.MAX_QUESTION_BYTES + 1))
        assert "at most 4096 bytes" in line_of(client)["error"]
        assert is_closed(client)
        assert ask(path, {"ask": "status"})["pid"] == 4711


def test_a_client_too_many_is_told_so(path: Path) -> None:
    with answered(path):
        clients = [connected(path) for _ in range(control.MAX_CLIENTS)]
        for client in clients:
            client.sendall(b'{"ask": "status"}\n')
            line_of(client)
        with connected(path) as late:
            assert line_of(late)["error"] == "8 others are asking: try again"
            assert is_closed(late)
        for client in clients:
            client.close()


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Leave this process without a file descriptor."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as taken:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 400), hard))
        taken.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        with suppress(OSError):
            while True:
                taken.callback(os.close, os.open(os.devnull, os.O_RDONLY))
        yield


def test_one_is_answered_without_descriptors_and_others_wait_without_a_word(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with answered(path), ExitStack() as stack:
        first, second = clients = [
            stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(2)
        ]
        for client in clients:
            client.settimeout(PATIENCE_S)
        with no_descriptors():
            for client in clients:
                client.connect(str(path))
                client.sendall(b'{"ask": "health"}\n')
            assert line_of(first)["asked"] == {"ask": "health"}
            assert not select.select([second], [], [], 0.5)[0]
        assert line_of(second)["asked"] == {"ask": "health"}
    assert caplog.messages == []


def test_a_client_that_asks_nothing_is_closed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "IDLE_S", 0.05)
    with answered(path), connected(path) as client:
        assert is_closed(client)


def test_a_client_that_fetches_no_answer_is_closed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "UNREAD_S", 0.05)

    async def long(_question: Mapping[str, Any]) -> Mapping[str, object]:
        return {"text": "x" * 4_000_000}

    with answered(path, long), connected(path) as client:
        client.sendall(b'{"ask": "status"}\n')
        hung_up = select.poll()
        hung_up.register(client, 0)  # of what is asked for nothing, POLLHUP is told anyway
        assert hung_up.poll(PATIENCE_S * 1000) == [(client.fileno(), select.POLLHUP)]


def test_a_failure_to_answer_is_an_answer_and_in_the_log(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails(_question: Mapping[str, Any]) -> Mapping[str, object]:
        raise RuntimeError("a slip of ours")

    with answered(path, fails):
        assert "the gateway's log says why" in ask(path, {"ask": "status"})["error"]
    assert "a slip of ours" in caplog.text


def test_nothing_is_left_when_it_closes(path: Path) -> None:
    with answered(path):
        pass
    assert not path.exists()
    with pytest.raises(NoAnswerError, match=r"no gateway runs here .*obisgate run starts it"):
        ask(path, {"ask": "status"})


def test_the_socket_of_a_killed_gateway_is_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(path))
        killed.listen()
    assert path.exists()
    with pytest.raises(NoAnswerError, match="no gateway runs here"):
        ask(path, {"ask": "status"})
    with answered(path):
        assert ask(path, {"ask": "status"})["pid"] == 4711


def test_a_living_gateway_is_not_replaced(path: Path) -> None:
    with answered(path):
        with pytest.raises(ConfigError, match=r"with house\.yaml is already running, pid 4711"):
            asyncio.run(ControlSocket(path, echo).open())
        assert ask(path, {"ask": "status"})["pid"] == 4711


def test_one_that_listens_and_does_not_answer_is_not_replaced(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "UNREAD_S", 0.05)
    with socket.socket(socket.AF_UNIX) as hung:
        hung.bind(str(path))
        hung.listen()
        with pytest.raises(ConfigError, match=r"already running: .*does not answer within 0\.05 s"):
            asyncio.run(ControlSocket(path, echo).open())


def test_a_file_that_is_no_socket_is_left_alone(path: Path) -> None:
    path.write_text("mine")
    with pytest.raises(OSError, match="in use"):
        asyncio.run(ControlSocket(path, echo).open())
    assert path.read_text() == "mine"
    with pytest.raises(NoAnswerError):
        ask(path, {"ask": "status"})


def test_what_answers_nonsense_is_no_gateway(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()

        def speak() -> None:
            connection, _ = other.accept()
            connection.sendall(b"220 mail.example.org\n")
            connection.recv(100)
            connection.close()

        thread = threading.Thread(target=speak)
        thread.start()
        with pytest.raises(NoAnswerError, match="is no gateway's"):
            ask(path, {"ask": "status"})
        thread.join(PATIENCE_S)


# --- where it lies --------------------------------------------------------------------------


@pytest.fixture
def no_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in ("RUNTIME_DIRECTORY", "STATE_DIRECTORY", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", "/s")
    monkeypatch.setattr(control, "SYSTEMD_SOCKET", tmp_path / "system.sock")
    return tmp_path


def test_it_lies_where_systemd_says(no_places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/obisgate:/run/other")
    assert socket_path(Path("a.yaml")) == Path("/run/obisgate/obisgate.sock")


def test_else_it_lies_beside_the_state_and_each_config_has_its_own(no_places: Path) -> None:
    one, other = socket_path(Path("/etc/a.yaml")), socket_path(Path("/home/a.yaml"))
    assert one != other
    assert one.parent == other.parent == Path("/s/obisgate")
    assert one.name.startswith("a-")
    assert one.suffix == ".sock"


def test_a_config_behind_a_link_is_asked_by_the_links_name_wherever_it_leads(
    no_places: Path,
) -> None:
    folder = no_places / "etc"
    folder.mkdir()
    link = folder / "config.yaml"
    link.symlink_to("v1.yaml")
    before = socket_path(link)
    link.unlink()
    link.symlink_to("v2.yaml")
    (no_places / "other").symlink_to(folder)
    assert socket_path(link) == socket_path(no_places / "other" / "config.yaml") == before
    assert socket_path(folder / "v2.yaml") != before


@pytest.mark.parametrize("has_runtime_folder", [True, False])
def test_a_path_too_long_for_a_socket_gives_way_to_a_short_one(
    no_places: Path, monkeypatch: pytest.MonkeyPatch, has_runtime_folder: bool
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/" + "s" * 120)
    monkeypatch.setattr(tempfile, "gettempdir", lambda: "/tmp")
    if has_runtime_folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1000")
    found = socket_path(Path("/etc/a.yaml"))
    folder = "/run/user/1000/obisgate" if has_runtime_folder else f"/tmp/obisgate-{os.getuid()}"
    assert found.parent == Path(folder)
    assert found != socket_path(Path("/home/a.yaml"))


def test_the_system_service_is_found_too(no_places: Path) -> None:
    config = no_places / "config.yaml"
    assert find_socket(config) == socket_path(config)
    control.SYSTEMD_SOCKET.touch()
    assert find_socket(config) == control.SYSTEMD_SOCKET


@pytest.fixture
def ordinary_user() -> Iterator[None]:
    """Be no root for a while: root may look everywhere."""
    was = os.geteuid()
    if was == 0:
        os.seteuid(65534)
    yield
    os.seteuid(was)


def test_a_service_whose_folder_is_closed_to_others_is_said_to_be_another_users(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/s")
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        closed = Path(folder) / "obisgate"
        closed.mkdir(mode=0o700)
        if os.geteuid() != 0:
            closed.chmod(0)
        monkeypatch.setattr(control, "SYSTEMD_SOCKET", closed / "obisgate.sock")
        request.getfixturevalue("ordinary_user")
        found = find_socket(Path("config.yaml"))
        assert found == control.SYSTEMD_SOCKET
        with pytest.raises(NoAnswerError, match=r"is another user's: ask as that one, or with"):
            ask(found, {"ask": "health"})
        os.seteuid(os.getuid())
        closed.chmod(0o700)


def test_a_folder_that_another_user_made_in_a_shared_one_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "t"
    shared.mkdir()
    shared.chmod(0o1777)
    monkeypatch.setattr(os, "getuid", lambda: 4711)
    (shared / "theirs").mkdir()
    with pytest.raises(OSError, match="is another user's"):
        asyncio.run(ControlSocket(shared / "theirs" / "s.sock", echo).open())
