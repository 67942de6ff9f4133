"""The config that is written: its text, and how it gets into place with the keys, whole."""

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from gateway.cli.init.reader import Answering
from gateway.config import DEFAULT_HOLD_S, Config, Transport
from gateway.located import ConfigError
from gateway.readers import Reader
from gateway.telegram import Key

NEW = ".new"
HOLD_PUSHES = 3  # pauses between pushes, so that one lost telegram is no silence
REMARK_COLUMN = 40
# YAML takes these as they stand; all else is quoted.
_PLAIN = re.compile(r"[A-Za-z0-9/][A-Za-z0-9/._:?=&+@-]*(?<!:)")


@dataclass(frozen=True, slots=True)
class Answers:
    """All that a config of one meter and one reader is made of.

    `key` and `auth_key` are as the config names them, or empty. `line` says what comes from the
    source, for people.
    """

    source: str
    line: str
    interval_s: float | None
    key: str
    auth_key: str
    reader: Reader
    answering: Answering


def config_text(answers: Answers, day: date) -> str:
    """Return the YAML, with a comment at all that the user may want to change."""
    reader, answering = answers.reader, answers.answering
    auth = answers.auth_key or "file:house.auth.key"
    hold_s = hold_of(answers.interval_s)
    is_usual = hold_s == DEFAULT_HOLD_S
    is_serial = answering.transport is Transport.SERIAL
    lines = [
        f"# obisgate's configuration, begun by `obisgate init` on {day}.",
        "# After a change `obisgate check` says whether it is right; README.md has all words.",
        "",
        "meters:",
        "  house:",
        f"    # {answers.line}",
        f"    source: {_scalar(answers.source)}",
        *(
            [_said(f"    key: {_scalar(answers.key)}", _where_of(answers.key))]
            if answers.key
            else []
        ),
        _said(
            f"    {'' if answers.auth_key else '# '}auth_key: {_scalar(auth)}",
            "only where the operator gives one: then every tag must verify",
        ),
        _said(
            f"    {'# ' if is_usual else ''}hold: {hold_s:g}s",
            "how long the last values are served without a telegram",
        ),
        _said("    # connection: 63A", "the house's main fuse; readings beyond are questioned"),
        "",
        "listeners:",
        f"  # {reader.name}",
        f"  - {answering.transport}: {_scalar(answering.where)}",
    ]
    if is_serial:
        lines += [
            _said("    baud: 9600", "as it is set in the reader, and so the parity"),
            _said("    # parity: none", "or even, odd; stop_bits: 1 or 2"),
        ]
    else:
        lines.append(
            _said("    # allow: [192.168.1.0/24]", "who may connect; all who reach it, if not set")
        )
    return "\n".join(
        [
            *lines,
            "    units:",
            _said(
                f"      {reader.unit_id}: {{meter: house, map: {reader.map_name}}}",
                "`obisgate maps` lists the maps",
            ),
            "",
        ]
    )


def hold_of(interval_s: float | None) -> float:
    """Return how long values are held: the usual time, or more for a meter that pushes rarely."""
    return max(DEFAULT_HOLD_S, float(round(HOLD_PUSHES * (interval_s or 0))))


def free_name(folder: Path, stem: str) -> str:
    """Return a name for a key file that nobody has: a key is never overwritten."""
    names = (f"{stem}{f'-{number}' if number > 1 else ''}.key" for number in range(1, 1000))
    for name in names:
        if not os.path.lexists(folder / name):
            return name
    raise ConfigError(f"{folder}: move some of the files {stem}-….key away")


def put_in_place(path: Path, answers: Answers, keys: Mapping[str, Key], day: date) -> None:
    """Write the config and the files of the keys; whatever goes wrong, none of them is changed.

    The config is read as the service would before it gets its name. A link stays one, and keys
    stand beside it.
    """
    folder = path.parent
    made: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, key in keys.items():
            _write(folder / f"{name}{NEW}", f"{key.octets.hex()}\n", made)
        # The keys do not have their names yet.
        trial = replace(answers, key=_new(answers.key, keys), auth_key=_new(answers.auth_key, keys))
        beside = path.with_name(f"{path.name}{NEW}")
        _write(beside, config_text(trial, day), made)
        Config.read(beside)
        beside.unlink()
        target = behind_links(path)
        beside = target.with_name(f"{target.name}{NEW}")
        _write(beside, config_text(answers, day), made)
        for name in keys:
            # A name that came meanwhile is not taken.
            os.link(folder / f"{name}{NEW}", folder / name)
            made.append(folder / name)
        beside.replace(target)
        made = [folder / f"{name}{NEW}" for name in keys]
    except OSError as problem:
        raise ConfigError(f"{path}: cannot be written: {problem.strerror}") from None
    finally:
        for each in made:
            with suppress(OSError):
                each.unlink()


def behind_links(path: Path) -> Path:
    """Return where a config is written that may be a link."""
    return Path(os.path.realpath(path))


def _write(path: Path, text: str, made: list[Path]) -> None:
    with suppress(FileNotFoundError):
        path.unlink()  # of an earlier attempt
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    made.append(path)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _new(written: str, keys: Mapping[str, Key]) -> str:
    return f"{written}{NEW}" if written.removeprefix("file:") in keys else written


def _where_of(key: str) -> str:
    is_file = key.startswith("file:")
    return "only you may read it" if is_file else "a variable of the gateway's environment"


def _said(line: str, remark: str) -> str:
    return f"{line:<{REMARK_COLUMN}}  # {remark}"


def _scalar(text: str) -> str:
    """Return a text as a YAML scalar that is read back as the same."""
    if _PLAIN.fullmatch(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
