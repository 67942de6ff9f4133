"""The words of a listener's limits."""

from pathlib import Path

import pytest

from gateway.config import Config
from gateway.limits import Limits, parse_size
from gateway.located import ConfigError

CONFIG = """\
meters:
  house: {source: "simulator:kaifa-ma309m"}
listeners:
  - ENDPOINT
    units: {1: {meter: house, map: obis_plain}}
    limits: LIMITS
"""


def read(folder: Path, limits: str, endpoint: str = "tcp: 5020") -> Config:
    path = folder / "config.yaml"
    path.write_text(CONFIG.replace("ENDPOINT", endpoint).replace("LIMITS", limits))
    return Config.read(path)


def test_without_a_word_each_limit_has_its_default(tmp_path: Path) -> None:
    (listener,) = read(tmp_path, "{}").listeners
    assert listener.limits == Limits(
        connections=200,
        connections_per_address=32,
        idle_s=600.0,
        unread_bytes=32768,
        request_s=10.0,
    )


@pytest.mark.parametrize("endpoint", ["tcp: 5020", "rtu_over_tcp: 5020"])
def test_each_limit_can_be_set(endpoint: str, tmp_path: Path) -> None:
    limits = "{connections: 9, connections_per_address: 3, idle: 2min, unread: 1MiB, request: 5s}"
    (listener,) = read(tmp_path, limits, endpoint).listeners
    assert listener.limits == Limits(9, 3, 120.0, 1 << 20, 5.0)


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ("{connections: 0}", "6:27: 0 is not between 1 and 10000"),
        ("{connections_per_address: many}", "6:39: 'many' is no whole number"),
        ("{idle: never}", "6:20: 'never' is no duration; one looks like 15s, 500ms, 2min or 1h"),
        ("{request: 0}", "6:23: '0' is no duration; one looks like 15s, 500ms, 2min or 1h"),
        ("{unread: much}", "6:22: 'much' is no size; one looks like 32KiB or 1MiB"),
        ("{unread: 1KiB}", "6:22: between 24KiB and 64MiB of replies may wait for a client"),
        ("{unraed: 1KiB}", "6:14: unknown word 'unraed', did you mean 'unread'?"),
        ("none", "6:13: expected 'word: value' lines, found one value"),
    ],
)
def test_a_wrong_limit_is_said_with_its_place(limits: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as problem:
        read(tmp_path, limits)
    assert str(problem.value) == f"{tmp_path / 'config.yaml'}:{said}"


@pytest.mark.parametrize("endpoint", ["udp: 5020", "serial: /dev/ttyUSB0"])
def test_where_nobody_connects_there_are_no_limits(endpoint: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r":6:13: 'limits' means nothing to a (udp|serial) list"):
        read(tmp_path, "{connections: 5}", endpoint)


def test_a_size_is_written_in_bytes_or_with_its_unit() -> None:
    assert [parse_size(text) for text in ("500", "500B", "32KiB", " 2 MiB ")] == [
        500, 500, 32768, 2097152,
    ]  # fmt: skip
    for text in ("", "KiB", "-1", "1.5KiB", "1GB"):
        with pytest.raises(ValueError, match="is no size"):
            parse_size(text)
