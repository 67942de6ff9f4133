"""obisgate service: the gateway under systemd, installed after showing what that does."""

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.cli.command import Commands, add_command
from gateway.keys import CREDENTIALS_FOLDER
from gateway.located import ConfigError
from gateway.systemd import unit_file
from gateway.systemd.takeover import CONFIG, STATE_FOLDER, Wanted, read_text, refuse_unseen, wanted

UNIT = Path("/etc/systemd/system") / unit_file.NAME
SYSUSERS = Path("/etc/sysusers.d/obisgate.conf")
DEFAULT_USER = "obisgate"
COMMAND_S = 120.0
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,30}")

KEY_MODE, FILE_MODE = 0o600, 0o644
KEYS_FOLDER_MODE, FOLDER_MODE = 0o700, 0o755


def add_to(commands: Commands) -> None:
    """Add the command and what stands behind it."""
    parser = add_command(
        commands,
        "service",
        _nothing,
        "install the gateway as a service of systemd, or take it away",
        "  obisgate service install --config config.yaml --dry-run\n"
        "  sudo obisgate service install --config config.yaml",
    )
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    installer = add_command(
        actions,
        "install",
        install,
        f"show the unit and each step, ask, then do it; {CONFIG} is what the service reads",
        "  sudo obisgate service install --config config.yaml",
    )
    installer.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help=f"your config, copied to {CONFIG} with its keys; needed until there is one",
    )
    installer.add_argument(
        "--user",
        default=DEFAULT_USER,
        metavar="NAME",
        help=f"as whom the service runs, made if there is none; {DEFAULT_USER}",
    )
    remover = add_command(
        actions,
        "uninstall",
        uninstall,
        "stop the service and take its unit away; config, keys and state stay",
        "  sudo obisgate service uninstall",
    )
    for action in (installer, remover):
        action.add_argument("--dry-run", action="store_true", help="show it and do nothing")
        action.add_argument("--yes", action="store_true", help="do it without asking")
        action.add_argument(
            "--root",
            type=Path,
            metavar="DIR",
            help="into a system that is not running, as an image's folder; nothing is started",
        )


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that is done, and how it is told."""

    text: str
    do: Callable[[], object]


def install(options: argparse.Namespace) -> int:
    """Install the service; 0 also if the user does not want it."""
    if not _USER.fullmatch(options.user) or options.user == "root":
        raise ConfigError(f"--user {options.user!r} is no user of a service; one is {DEFAULT_USER}")
    system = _System(options.root)
    installed = wanted(system.at, options.config)
    program = _program()
    if options.root is None:
        try:
            for path in (program.resolve(), Path(sys.base_prefix)):
                refuse_unseen(path, "as a service it is installed for all: docs/installation.md")
        except ConfigError as problem:
            if not options.dry_run:
                raise
            print(f"This program cannot be the service: {problem}\n", file=sys.stderr)
    text = unit_file.render(program, CONFIG, installed.config, options.user, installed.credentials)
    print(f"{UNIT}:\n")
    print("".join(f"  {line}\n" if line else "\n" for line in text.splitlines()))
    steps = list(_steps(system, installed, text, options.user))
    if not _are_done(steps, options):
        return 0
    for hint in installed.hints(options.user):
        print(hint)
    if options.root is None:
        print("It runs. See: systemctl status obisgate, journalctl -fu obisgate")
    return 0


def uninstall(options: argparse.Namespace) -> int:
    """Take the service away, and leave what is the user's."""
    system = _System(options.root)
    if not system.at(UNIT).exists():
        raise ConfigError(f"{system.at(UNIT)} does not exist: the service is not installed")
    steps = [
        system.systemctl("disable", *system.if_running("--now"), unit_file.NAME),
        Step(f"remove {UNIT}", system.at(UNIT).unlink),
        Step(f"remove {SYSUSERS}", lambda: system.at(SYSUSERS).unlink(missing_ok=True)),
    ]
    if options.root is None:
        steps.append(system.systemctl("daemon-reload"))
    if _are_done(steps, options):
        print(f"{CONFIG.parent}, {STATE_FOLDER} and the user stay as they are.")
    return 0


class _System:
    """The system into which is installed: this one, or one in a folder."""

    def __init__(self, root: Path | None) -> None:
        if root and not root.is_dir():
            raise ConfigError(f"--root {root} is no folder")
        self.root = root.resolve() if root else None

    def at(self, path: Path) -> Path:
        """Return where a path of the system is now."""
        return self.root / path.relative_to("/") if self.root else path

    def if_running(self, *words: str) -> Sequence[str]:
        return () if self.root else words

    def systemctl(self, *words: str) -> Step:
        return self.command("systemctl", *words)

    def command(self, *words: str) -> Step:
        """Return the step that runs a command of systemd."""
        if self.root:
            words = words[0], f"--root={self.root}", *words[1:]
        return Step(shlex.join(words), lambda: _run(words))

    def make_folder(self, path: Path, mode: int) -> None:
        """Make a folder with its mode, whatever the umask is; one that is there stays so."""
        path = self.at(path)
        if not path.exists():
            path.mkdir(parents=True)
            path.chmod(mode)

    def write(self, path: Path, text: str, mode: int = FILE_MODE) -> None:
        """Write a file with its mode from its first byte on."""
        path = self.at(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f"{path.name}.new")
        beside.unlink(missing_ok=True)
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        beside.chmod(mode)  # whatever the umask is
        beside.replace(path)


def _program() -> Path:
    """Return the command by which this was started."""
    started = Path(sys.argv[0])
    found = started if started.is_file() else Path(shutil.which("obisgate") or "")
    if not found.is_file() or not os.access(found, os.X_OK):
        raise ConfigError(f"{started} is no command that systemd could start")
    return found.absolute()


def _steps(system: _System, installed: Wanted, unit: str, user: str) -> Iterator[Step]:
    sysusers = f'u {user} - "obisgate smart meter gateway" {STATE_FOLDER}\n'
    yield Step(
        f"write {SYSUSERS}: the user {user}, who has no password and no shell",
        lambda: system.write(SYSUSERS, sysusers),
    )
    yield system.command("systemd-sysusers", SYSUSERS.name)
    for name, source in installed.keys.items():
        yield _key_step(system, name, source)
    if installed.copied is not None:
        text = installed.copied

        def put() -> None:
            system.make_folder(CONFIG.parent, FOLDER_MODE)
            system.write(CONFIG, text)

        yield Step(
            f"write {CONFIG}: {installed.config.file}"
            + (", keys as credentials" * bool(installed.keys)),
            put,
        )
    yield Step(f"write {UNIT}: the unit above", lambda: system.write(UNIT, unit))
    if system.root is None:
        yield system.systemctl("daemon-reload")
    yield system.systemctl("enable", unit_file.NAME)
    if system.root is None:
        yield system.systemctl("restart", unit_file.NAME)


def _key_step(system: _System, name: str, source: Path) -> Step:
    target = CREDENTIALS_FOLDER / name

    def copy() -> None:
        system.make_folder(CONFIG.parent, FOLDER_MODE)
        system.make_folder(CREDENTIALS_FOLDER, KEYS_FOLDER_MODE)
        system.write(target, read_text(source), KEY_MODE)

    return Step(f"copy {source} to {target}, which root alone can read", copy)


def _are_done(steps: Sequence[Step], options: argparse.Namespace) -> bool:
    """Show the steps and do them, if they are wanted."""
    print("Steps:")
    for number, step in enumerate(steps, start=1):
        print(f"  {number}. {step.text}")
    if options.dry_run:
        print("Nothing was done (--dry-run).")
        return False
    if options.root is None and os.geteuid() != 0:
        command = shlex.join(["sudo", str(_program()), *sys.argv[1:]])
        raise ConfigError(f"this needs root: {command}")
    if not options.yes and not _is_agreed():
        print("Nothing was done.")
        return False
    for number, step in enumerate(steps, start=1):
        try:
            step.do()
        except OSError as problem:
            why = f"{problem.filename or ''}: {problem.strerror}"
            raise ConfigError(f"step {number}, {step.text}: {why}") from None
        except _CommandError as problem:
            raise ConfigError(f"step {number}, {step.text}: {problem}") from None
    print("Done.")
    return True


def _is_agreed() -> bool:
    if not sys.stdin.isatty():
        raise ConfigError("there is nobody to ask: --yes does it without asking")
    return input("Do this? [y/N] ").strip().lower() in ("y", "yes", "j", "ja")


class _CommandError(Exception):
    """A command of systemd has failed; the text is what it said."""


def _run(words: Sequence[str]) -> None:
    # systemd-sysusers would look there for passwords of users.
    environment = {k: v for k, v in os.environ.items() if k != "CREDENTIALS_DIRECTORY"}
    try:
        done = subprocess.run(  # noqa: S603 - systemd's own commands, shown before
            words,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_S,
        )
    except FileNotFoundError:
        raise _CommandError("there is no such command: is this machine run by systemd?") from None
    except subprocess.TimeoutExpired:
        raise _CommandError(f"not done within {COMMAND_S:g} s") from None
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split()) or "no reason given"
        raise _CommandError(f"{said} (exit code {done.returncode})")


def _nothing(_options: argparse.Namespace) -> int:
    raise AssertionError("argparse asks for an action")
