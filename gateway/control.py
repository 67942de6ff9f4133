"""The control socket: what a running gateway answers to commands on the same machine.

A Unix stream socket that only the gateway's own user can open. One JSON object a line each way:

    {"ask": "status"} → {"version": …, "meters": {…}, "listeners": […]}
    {"ask": "health"} → {"summary": a text, "trouble": a text, or null}
    {"ask": "reload"} → {"reloaded": true, "changes": [a text each]}
    anything that cannot be done → {"error": a text}
"""

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import socket
import stat
from collections.abc import Awaitable, Callable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from gateway.located import ConfigError
from gateway.state import default_path, digest_of

log = logging.getLogger(__name__)

MAX_PATH_BYTES = 107  # sun_path of Linux (unix(7)) without the zero at its end
MAX_QUESTION_BYTES = 4096
MAX_ANSWER_BYTES = 16 * 1024 * 1024
MAX_CLIENTS = 8
IDLE_S = 60.0  # until the next question
UNREAD_S = 10.0  # for a client that does not fetch its answer
ANSWER_S = 30.0  # that a client waits; a reload reads files and opens listeners
PAUSE_S = 1.0  # until it is tried again to let somebody in
SYSTEMD_SOCKET = Path("/run/obisgate/obisgate.sock")  # RuntimeDirectory=obisgate

Question = Mapping[str, Any]
Answer = Callable[[Question], Awaitable[Mapping[str, object]]]


class NoAnswerError(ConfigError):
    """No gateway runs there, or it does not answer; the text says which, and what to do."""


class NoGatewayError(NoAnswerError):
    """No gateway runs there."""


def config_place(config: Path) -> Path:
    """Return the one name of a config, wherever one stands. What a link leads to may change."""
    return config.parent.resolve() / config.name


def socket_path(config: Path) -> Path:
    """Return where a gateway with this config listens: systemd's place, else beside its state.

    It depends on the config's place alone, so that it is found although the config is wrong. A
    path that is too long for a socket gives way to a short one.
    """
    if folder := os.environ.get("RUNTIME_DIRECTORY"):
        return Path(folder.split(":")[0]) / "obisgate.sock"
    config = config_place(config)
    beside = default_path(config).parent
    path = beside / f"{config.stem[:40]}-{digest_of(config)}.sock"
    return next((each for each in chain([path], _short_places(config)) if _fits(each)), path)


def _short_places(config: Path) -> Iterator[Path]:
    short = f"{digest_of(config)}.sock"
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        yield Path(runtime) / "obisgate" / short
    from tempfile import gettempdir  # half a megabyte that is hardly ever wanted

    yield Path(gettempdir()) / f"obisgate-{os.getuid()}" / short


def find_socket(config: Path) -> Path:
    """Return where to ask for the gateway with this config: that of the system service, too.

    A folder that may not be looked into is none of a gateway of our own; that of the service is
    there only while it runs.
    """
    path = socket_path(config)
    is_ours = _is_there(path, if_hidden=False)
    return SYSTEMD_SOCKET if not is_ours and _is_there(SYSTEMD_SOCKET, if_hidden=True) else path


def _is_there(path: Path, *, if_hidden: bool) -> bool:
    try:
        path.stat()
    except PermissionError:
        return if_hidden
    except OSError:
        return False
    return True


def ask_gateway(config: Path, question: Question) -> dict[str, Any]:
    """Return the answer of the gateway with this config. NoAnswerError says why there is none."""
    try:
        return ask(find_socket(config), question)
    except NoGatewayError:
        if config.exists():
            raise
        raise NoGatewayError(
            f"{config} is not there: name the config that the gateway was started with"
        ) from None


def ask(path: Path, question: Question, within_s: float = ANSWER_S) -> dict[str, Any]:
    """Return the answer of the gateway at `path`. NoAnswerError says why there is none."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(within_s)
        try:
            asking.connect(str(path))
            asking.sendall(_line(question))
            line = _read_line(asking)
        except (FileNotFoundError, ConnectionRefusedError):
            raise NoGatewayError(
                f"no gateway runs here ({path}): obisgate run starts it; one that another user "
                "started, such as root with sudo, is asked as that user"
            ) from None
        except PermissionError:
            raise NoAnswerError(
                f"the gateway at {path} is another user's: ask as that one, or with sudo"
            ) from None
        except TimeoutError:
            raise NoAnswerError(
                f"the gateway at {path} does not answer within {within_s:g} s"
            ) from None
        except OSError as problem:
            raise NoAnswerError(f"{path}: {problem.strerror or problem}") from None
    try:
        answer = json.loads(line)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise NoAnswerError(f"{path} was closed before an answer came, or is no gateway's")
    return answer


class ControlSocket:
    """The gateway's end. `answer` takes a question and returns what is to be sent.

    A file descriptor is kept for it: how the gateway does is asked just when none is left. It
    accepts by itself, as asyncio would log each of a hundred vain attempts, over and over.
    """

    def __init__(self, path: Path, answer: Answer) -> None:
        self.path = path
        self._answer = answer
        self._door: socket.socket | None = None
        self._reserve: int | None = None
        self._pause: asyncio.TimerHandle | None = None
        self._clients: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Listen. ConfigError: a gateway with this config runs already; OSError: why it cannot."""
        self._door = await asyncio.to_thread(_bound, self.path)
        self._keep_reserve()
        self._listen(self._door)

    def close(self) -> None:
        """Answer no more, and leave nothing behind."""
        if self._door is None:
            return
        asyncio.get_running_loop().remove_reader(self._door)
        self._door.close()
        self._door = None
        if self._pause:
            self._pause.cancel()
        self._release()
        for client in self._clients:
            client.cancel()
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)

    def _listen(self, door: socket.socket) -> None:
        asyncio.get_running_loop().add_reader(door, self._let_in, door)

    def _let_in(self, door: socket.socket) -> None:
        """Let in who asks, at last with the descriptor that was kept; without one he waits."""
        try:
            connection, _ = door.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError:
            if self._reserve is None:
                loop = asyncio.get_running_loop()
                loop.remove_reader(door)
                self._pause = loop.call_later(PAUSE_S, self._listen, door)
            self._release()
            return
        self._keep_reserve()
        self._take(connection)

    def _take(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        if len(self._clients) >= MAX_CLIENTS:
            with connection, contextlib.suppress(OSError):
                connection.send(_line({"error": f"{MAX_CLIENTS} others are asking: try again"}))
            return
        client = asyncio.create_task(self._serve(connection))
        self._clients.add(client)
        client.add_done_callback(self._gone)

    def _gone(self, client: asyncio.Task[None]) -> None:
        self._clients.discard(client)
        self._keep_reserve()

    def _keep_reserve(self) -> None:
        if self._reserve is None and self._door is not None:
            with contextlib.suppress(OSError):
                self._reserve = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def _release(self) -> None:
        if self._reserve is not None:
            os.close(self._reserve)
            self._reserve = None

    async def _serve(self, connection: socket.socket) -> None:
        try:
            streams = await asyncio.open_unix_connection(sock=connection, limit=MAX_QUESTION_BYTES)
        except (OSError, asyncio.CancelledError):
            connection.close()  # it has left, or the gateway stops
            return
        await self._converse(*streams)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one client until it leaves, or does not keep to the rules."""
        try:
            while await self._answer_one(reader, writer):
                pass
        except TimeoutError:
            writer.transport.abort()  # whatever it has not fetched by now
        except (OSError, asyncio.CancelledError):
            pass  # it has left, or the gateway stops
        finally:
            writer.close()

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer the next question; return whether one more may come."""
        try:
            async with asyncio.timeout(IDLE_S):
                line = await reader.readline()
        except ValueError:  # the stream's limit
            too_long = f"a question has at most {MAX_QUESTION_BYTES} bytes"
            writer.write(_line({"error": too_long}))
            return False
        if not line.endswith(b"\n"):
            return False
        writer.write(_line(await self._answered(line)))
        async with asyncio.timeout(UNREAD_S):
            await writer.drain()
        return True

    async def _answered(self, line: bytes) -> Mapping[str, object]:
        try:
            question = json.loads(line)
        except (ValueError, RecursionError):
            question = None
        if not isinstance(question, dict) or not isinstance(question.get("ask"), str):
            return {"error": 'a question looks like {"ask": "status"}, one a line'}
        try:
            return await self._answer(question)
        except Exception:
            log.exception("%s: a question could not be answered", self.path)
            return {"error": "this could not be answered: the gateway's log says why"}


def _bound(path: Path) -> socket.socket:
    """Return a listening socket at `path` for the own user, in place of one that nobody hears."""
    if not _fits(path):
        raise OSError(0, f"longer than {MAX_PATH_BYTES} bytes", str(path))
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    is_shared = path.parent.parent.stat().st_mode & stat.S_ISVTX  # as /tmp: anybody makes folders
    if is_shared and path.parent.stat().st_uid != os.getuid():
        raise OSError(0, f"{path.parent} is another user's", str(path))
    with _locked(path.parent):
        if path.is_socket():
            _refuse_living(path)
            path.unlink()
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            bound.bind(str(path))
            # Nobody can connect before it listens.
            path.chmod(0o600)
            bound.listen()
            bound.setblocking(False)
        except OSError:
            bound.close()
            raise
    return bound


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let no other gateway look at a folder's sockets meanwhile: it might take ours for dead."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _refuse_living(path: Path) -> None:
    """Raise ConfigError if somebody listens at `path`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(UNREAD_S)
        try:
            asking.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return  # of a gateway that was killed
        except TimeoutError:
            pass  # somebody is there, whatever keeps him
    try:
        status = ask(path, {"ask": "status"}, UNREAD_S)
    except NoAnswerError as problem:
        raise ConfigError(f"a gateway with this config is already running: {problem}") from None
    config, pid = status.get("config"), status.get("pid")
    raise ConfigError(
        f"a gateway with {config} is already running, pid {pid}: stop it first, or let it apply "
        "a changed config with obisgate reload"
    )


def _fits(path: Path) -> bool:
    return len(os.fsencode(path)) <= MAX_PATH_BYTES


def _line(shown: Mapping[str, object]) -> bytes:
    return json.dumps(shown, ensure_ascii=False).encode() + b"\n"


def _read_line(asking: socket.socket) -> bytes:
    line = bytearray()
    while not line.endswith(b"\n") and len(line) <= MAX_ANSWER_BYTES:
        chunk = asking.recv(65536)
        if not chunk:
            break
        line += chunk
    return bytes(line)
