"""What systemd is told: that the service is ready, how it is, that it lives, that it stops.

The protocol of sd_notify(3): lines WORD=value, in one datagram to the socket that systemd names.
"""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

log = logging.getLogger(__name__)

STATUS_EVERY_S = 5.0
SEND_S = 1.0  # a systemd that takes nothing for so long is not waited for
LONGEST_ANSWER_S = 5.0
MAX_STATUS_CHARACTERS = 400


class Lives(Protocol):
    """A service that says how it is."""

    def summary(self) -> str:
        """Return in words what is served now."""

    async def trouble(self, answer_s: float) -> str | None:
        """Return what only a restart would mend; listeners must answer within `answer_s`."""


def _opened() -> socket.socket:
    sending = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    sending.settimeout(SEND_S)
    return sending


@dataclass(frozen=True, slots=True)
class Supervisor:
    """Who started us and wants to know. `watchdog_s`: how long it bears silence; None: for ever.

    To be closed. What it is told by is opened once: the watchdog must be fed also while there is no
    descriptor left.
    """

    address: str
    watchdog_s: float | None
    _sending: socket.socket = field(init=False, repr=False, compare=False, default_factory=_opened)

    @classmethod
    def named_in(cls, environment: Mapping[str, str]) -> "Supervisor | None":
        """Return who is named in the environment; None: nobody asks."""
        address = environment.get("NOTIFY_SOCKET", "")
        if not address.startswith(("/", "@")):
            return None
        watchdog = environment.get("WATCHDOG_USEC", "")
        is_ours = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        is_fed = is_ours and watchdog.isdecimal() and int(watchdog) > 0
        return cls(address, int(watchdog) / 1e6 if is_fed else None)

    def __enter__(self) -> "Supervisor":
        return self

    def __exit__(self, *_: object) -> None:
        self._sending.close()

    def tell(self, *lines: str) -> None:
        """Send lines; that they cannot be sent is logged and ends nothing."""
        # A leading @ stands for the zero byte of an abstract socket.
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        try:
            self._sending.sendto("\n".join(lines).encode(), address)
        except OSError as problem:
            log.warning("systemd cannot be told %s: %s", lines[0], problem.strerror or problem)

    def tell_reloading(self) -> None:
        """Say that the config is read anew; READY=1 follows."""
        self.tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")


async def keep_told(supervisor: Supervisor, service: Lives, stop: asyncio.Event) -> None:
    """Tell that the service is ready, then how it is and that it lives, until `stop` is set."""
    summary = service.summary()
    supervisor.tell("READY=1", _line(summary))
    async with asyncio.TaskGroup() as tasks:
        work = [tasks.create_task(_tell_summary(supervisor, service, summary))]
        if supervisor.watchdog_s:
            work.append(tasks.create_task(_feed(supervisor, service, supervisor.watchdog_s / 2)))
        await stop.wait()
        supervisor.tell("STOPPING=1")
        for task in work:
            task.cancel()


async def _tell_summary(supervisor: Supervisor, service: Lives, told: str) -> None:
    while True:
        await asyncio.sleep(STATUS_EVERY_S)
        summary = service.summary()
        if summary != told:
            supervisor.tell(_line(summary))
            told = summary


async def _feed(supervisor: Supervisor, service: Lives, every_s: float) -> None:
    """Feed the watchdog while all is well; what is not is said once.

    An answer may take so long that asking again still finds the watchdog awake.
    """
    said = None
    while True:
        trouble = await service.trouble(min(LONGEST_ANSWER_S, every_s / 2))
        if trouble is None:
            supervisor.tell("WATCHDOG=1")
        elif trouble != said:
            log.warning("%s; if it stays so, systemd's watchdog restarts the service", trouble)
        said = trouble
        await asyncio.sleep(every_s if trouble is None else every_s / 4)


def _line(summary: str) -> str:
    return f"STATUS={' '.join(summary.split())[:MAX_STATUS_CHARACTERS]}"
