"""The words of diagnoses: whatever health and the sources say is known in both languages."""

import ast
import errno
import re
import string
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.diagnoses import (
    CAUSES,
    DIAGNOSES,
    KEY_NAMES,
    SOURCES,
    WORDS,
    described,
    english,
    recognised,
)
from gateway.health import Health, Trouble
from gateway.ladder_words import BREAKS, KINDS, NAMES, REFUSALS, RUNG_OF, Rung
from gateway.sources import SourceAddress, open_source
from gateway.sources.recording import RecordingSource
from gateway.sources.serial_port import cause_of
from gateway.telegram import Key, Layer, key_slips
from gateway.telegram.key_slips import DECRYPTS_WITH, KEY_FITS

ALL = {**WORDS, **BREAKS, **{str(rung): text for rung, text in NAMES.items()}}
GATEWAY = Path(__file__).parents[1] / "gateway"
MODULES = [*sorted((GATEWAY / "sources").glob("*.py")), GATEWAY / "endpoint.py"]
TELLING = ("cause_of", "trouble", "why_not_bound", "why_unreached", "_cause")
HEALTH = (GATEWAY / "health.py").read_text(encoding="utf-8")


def fields_of(template: str) -> set[str]:
    return {field for _, field, _, _ in string.Formatter().parse(template) if field}


@pytest.mark.parametrize("name", ALL)
def test_all_words_are_there_in_both_languages_with_the_same_places(name: str) -> None:
    text = ALL[name]
    assert text.en
    assert text.de
    assert text.en != text.de
    assert fields_of(text.en) == fields_of(text.de)
    for command in re.findall(r"`[^`]+`|\?[a-z]+=\w+", text.en):
        assert command in text.de, "what is typed is the same"


@pytest.mark.parametrize("name", DIAGNOSES)
def test_every_diagnosis_is_recognised_and_told_in_german(name: str) -> None:
    fields = {field: f"({field}: 7)" for field in fields_of(DIAGNOSES[name].en)}
    found = recognised(english(name, **fields))
    assert found.name == name
    assert found.text.en == DIAGNOSES[name].en.format(**fields)
    quoted = fields | {"slip": "„(slip: 7)“"}  # which slip it was is translated, if it is known
    assert found.text.de == DIAGNOSES[name].de.format(**quoted)


@pytest.mark.parametrize(
    ("address", "german"),
    [
        ("serial:/dev/ttyUSB0", "serielle Schnittstelle /dev/ttyUSB0, 2400 Baud 8E1"),
        ("tcp://127.0.0.1:2400", "TCP-Server 127.0.0.1:2400"),
        (
            "tcp-listen://[::1]:2400",
            "TCP-Port [::1]:2400 für einen Adapter, der sich einwählt",
        ),
        ("udp://127.0.0.1:2400", "UDP-Port 127.0.0.1:2400"),
        ("mqtt://127.0.0.1/a/b", "Topic a/b des MQTT-Brokers 127.0.0.1:1883"),
        ("mqtts://127.0.0.1/a/b", "Topic a/b des MQTT-Brokers 127.0.0.1:8883 über TLS"),
        ("recording:a, b.rec", "Aufnahme a, b.rec, auf einmal"),
        ("recording:a?speed=1", "Aufnahme a, so schnell, wie es war"),
        ("recording:a?speed=2", "Aufnahme a, 2-mal so schnell"),
        ("recording:a?baud=2400", "Aufnahme a, 2400 Baud"),
        ("simulator:kaifa-ma309m", "simulierter kaifa-ma309m, alle 5 s ein Telegramm"),
    ],
)
def test_every_source_is_described_in_german(address: str, german: str) -> None:
    source = open_source(SourceAddress.parse(address), Key(bytes(16)), None)
    assert described(source.describe()) == (source.describe(), german)


@pytest.mark.parametrize("name", [text.en for text in KEY_NAMES])
@pytest.mark.parametrize("octets", [b"Abcdefgh12345678", bytes(range(16))])
def test_every_slip_with_a_key_is_told_in_german(octets: bytes, name: str) -> None:
    refused = f"{KEY_FITS}the authentication key does not"
    swapped = f"{DECRYPTS_WITH}the authentication key: key and auth_key are swapped"
    only = f"{DECRYPTS_WITH}the authentication key: make it the key, and leave out auth_key"
    slips = [refused, f"{refused}: key and auth_key are the same", swapped, only]
    for near, _ in key_slips._variants(octets, name):
        slips += [f"{DECRYPTS_WITH}{near}", f"{refused}: the tag is right with {near}"]
    for slip in set(slips):
        words = "decryption.auth" if slip.startswith(KEY_FITS) else "decryption.slip"
        found = recognised(english(words, count=3, slip=slip))
        assert found.name == words
        assert slip in found.text.en
        german = found.text.de
        assert "„" not in german
        assert not re.search(r"\b(the|key fits|with|hex|characters?)\b", german), german
        assert re.findall(r"\d+", german) == re.findall(r"\d+", found.text.en)
    other = recognised(english("decryption.slip", count=3, slip="the moon is full"))
    assert other.text.de.endswith("„the moon is full“")


def test_a_source_of_another_version_is_described_as_it_says() -> None:
    assert described("a carrier pigeon") == ("a carrier pigeon", "a carrier pigeon")
    assert len({text.en for text in SOURCES}) == len(SOURCES)


def test_health_says_nothing_but_these_words() -> None:
    named = set(re.findall(r'"([a-z]+(?:\.[a-z]+)?)"', HEALTH))
    made = {
        "decryption.wrong",
        "decryption.refused",
        "decryption.wrong.several",
        "decryption.refused.several",
    }
    assert set(DIAGNOSES) - made <= named
    docstrings = {
        node.value
        for node in ast.walk(ast.parse(HEALTH))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    sentences = [
        node.value
        for node in ast.walk(ast.parse(HEALTH))
        if isinstance(node, ast.Constant) and " " in str(node.value)
        if str(node.value) not in {str(each.value) for each in docstrings}
    ]
    assert set(sentences) <= {str(trouble) for trouble in Trouble} | {" and "}


@pytest.mark.parametrize("silent_s", [15.0, 0.5])
def test_what_health_says_is_recognised(silent_s: float) -> None:
    said = Health(0.0, silent_s).diagnosis(silent_s)
    assert said
    assert recognised(said.text).name == "bytes.always"


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (errno.ENOENT, "device.absent"),
        (errno.EACCES, "open."),
        (errno.EBUSY, "open.busy"),
        (errno.ENOTTY, "open.kind"),
        (errno.EINVAL, "open.setting"),
        (errno.EIO, "open.other"),
    ],
)
def test_each_cause_of_a_serial_port_is_recognised(number: int, name: str) -> None:
    found = recognised(cause_of("/dev/null", number, "[Errno 5] Input/output error"))
    assert found.name
    assert found.name.startswith(name)
    assert "/dev/null" in found.text.de


def test_each_cause_of_a_recording_is_recognised(tmp_path: Path) -> None:
    folder, absent = RecordingSource(tmp_path), RecordingSource(tmp_path / "x.bin")
    assert recognised(folder.trouble() or "").name == "open.folder"
    assert recognised(absent.trouble() or "").name == "device.file"


def said_by(path: Path) -> Iterator[str]:
    """Yield what a module of a source says when it cannot go on, with 7 for all that it fills in.

    That are the texts of its SourceErrors, and of the functions that return them.
    """
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        texts: list[ast.expr | None] = []
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "SourceError":
            texts = [*node.args]
        elif isinstance(node, ast.FunctionDef) and node.name in TELLING:
            texts = [each.value for each in ast.walk(node) if isinstance(each, ast.Return)]
        for text in texts:
            if isinstance(text, ast.JoinedStr):
                parts = [
                    str(each.value) if isinstance(each, ast.Constant) else "7"
                    for each in text.values
                ]
                yield "".join(parts)


SAID = {text for module in MODULES for text in said_by(module)}


def test_there_is_something_that_sources_say() -> None:
    assert len(SAID) > 25


@pytest.mark.parametrize("said", sorted(SAID))
def test_whatever_a_source_says_is_known_in_german(said: str) -> None:
    assert recognised(said).name


@given(st.text(min_size=1))
def test_any_text_stays_in_english_and_is_quoted_in_german_if_it_is_none_of_ours(said: str) -> None:
    name, text = recognised(said)
    assert text.en == said
    assert name in WORDS if name else text.de == f"Meldung: „{said}“"


def test_each_word_breaks_a_rung_and_each_rung_has_words() -> None:
    assert set(RUNG_OF) == {*WORDS, *BREAKS}
    assert set(RUNG_OF.values()) == set(Rung)
    assert set(KINDS) == set(Trouble)
    assert set(REFUSALS) == set(Layer)
    assert all(name in CAUSES or name in DIAGNOSES or name in BREAKS for name in RUNG_OF)
