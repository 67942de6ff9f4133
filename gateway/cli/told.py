"""What the user, his config and his system tell: which meter, which language, which command."""

import os
import shlex
import shutil
import sys
from pathlib import Path

from gateway.config import Config, MeterConfig
from gateway.languages import LANGUAGES
from gateway.located import ConfigError, nearest


def chosen_meter(config: Config, name: str | None) -> MeterConfig:
    """Return the meter of that name; without a name the only one."""
    for warning in config.warnings:
        print(f"obisgate: {warning}", file=sys.stderr)
    meters = config.meters
    if name is None and len(meters) == 1:
        return next(iter(meters.values()))
    if name is None:
        raise ConfigError(f"--meter NAME is missing; there are {', '.join(meters)}")
    config.refuse_virtual(name)
    if name not in meters:
        raise ConfigError(f"unknown meter {name!r}{nearest(name, meters)}")
    return meters[name]


def system_language() -> str:
    """Return the language of the system, English if it is none of ours."""
    names = (os.environ.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    language = next(filter(None, names), "")[:2]
    return language if language in LANGUAGES else LANGUAGES[0]


def command_name() -> str:
    """Return how this command is typed here: by its path, unless its name alone leads to it."""
    started, found = Path(sys.argv[0]), shutil.which("obisgate")
    if started.name != "obisgate" or (found and started.exists() and started.samefile(found)):
        return "obisgate"
    return shlex.quote(sys.argv[0])
