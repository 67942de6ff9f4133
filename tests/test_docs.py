"""The pages about a telegram: their tables are those that the command makes today."""

import importlib.util
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway import certificates, map_library
from gateway.cli.anonymise import TEST_KEYS
from gateway.recording import Began, Chunk, parse
from gateway.sources import SourceAddress, open_source
from gateway.sources.address import KINDS
from gateway.telegram import Key

DOCS = Path(__file__).parents[1] / "docs"
_spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
assert _spec
assert _spec.loader
generate = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(generate)


@pytest.mark.parametrize("language", ["en", "de"])
def test_tables_are_current(language: str) -> None:
    text = generate.PAGES[language].read_text(encoding="utf-8")
    assert generate.page(text, language) == text, "make docs"


def test_the_library_page_is_current() -> None:
    assert generate.LIBRARY.read_text(encoding="utf-8") == generate.library(), "make docs"


@pytest.mark.parametrize("language", ["en", "de"])
def test_the_ladder_pages_are_current(language: str) -> None:
    text = generate.LADDERS[language].read_text(encoding="utf-8")
    assert text == generate.ladder(language), "make docs"
    assert len(re.findall(r"^## \d+\. ", text, re.MULTILINE)) == 15
    rungs = text.split("\n## ")[1:]
    assert all("\n- " in rung for rung in rungs), "each rung has a next step"


def test_both_languages_have_the_same_sections_and_tables() -> None:
    english, german = (
        re.findall(r"^## (\d+)|generated: (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
        for path in generate.PAGES.values()
    )
    assert english == german
    assert {name for _, name in english if name} == {
        "bytes", "frames", "header", "notification", "clock", "voltage", "objects",
    }  # fmt: skip


def test_the_page_about_inverters_names_maps_that_there_are() -> None:
    text = (DOCS / "inverters.md").read_text(encoding="utf-8")
    names = set(re.findall(r"`([a-z]+[0-9a-z]*_[0-9a-z_]+)`", text)) - {"rtu_over_tcp"}
    assert names <= map_library.find(None).keys()


def test_the_page_about_recordings_shows_one() -> None:
    text = (DOCS / "recordings.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"^```\n(obisgate recording.*?)^```", text, re.DOTALL | re.MULTILINE)
    began, *chunks = parse(shown.encode().splitlines())
    assert isinstance(began, Began)
    assert [chunk.damaged for chunk in chunks if isinstance(chunk, Chunk)] == [(), (1,), ()]


def test_the_keys_of_an_anonymous_recording_are_those_that_are_published() -> None:
    text = (DOCS / "recordings.md").read_text(encoding="utf-8")
    for key in TEST_KEYS:
        assert f"`{key.octets.hex().upper()}`" in text


def test_links_lead_somewhere() -> None:
    for path in (*DOCS.glob("*.md"), generate.LIBRARY):
        for link in re.findall(r"\]\((?!https:)([^)#]+)\)", path.read_text(encoding="utf-8")):
            assert (path.parent / link).exists(), f"{path.name}: {link}"


def test_commands_of_the_pages_find_what_they_need() -> None:
    pages = [*DOCS.glob("*.md"), DOCS.parent / "README.md"]
    for path in pages:
        text = path.read_text(encoding="utf-8")
        # It is on no index, so that nothing can be installed of it by its name.
        assert "obisgate[" not in text, path.name
        for command in re.findall(r"docker compose [^`\n]+", text):
            assert command.startswith("docker compose -f docker/compose.yaml "), command
        for command in re.findall(
            r"^.*\bpipx install\b.*$|`[^`]*install --force[^`]*`", text, re.MULTILINE
        ):
            assert "PIPX_HOME=/opt/pipx PIPX_BIN_DIR=/usr/local/bin pipx" in command, command
        for lock in re.findall(r"-r (\S+\.lock)", text):
            assert (DOCS.parent / lock).is_file(), lock


def test_every_source_in_the_page_about_them_can_be_opened(tmp_path: Path) -> None:
    (tmp_path / "mqtt.password").touch(mode=0o600)
    (tmp_path / "mqtt.password").write_text("geheim\n")
    authority = certificates.new_authority("Test", datetime.now(UTC))
    (tmp_path / "ca.crt").write_bytes(authority.certificate)
    page = (DOCS / "sources.md").read_text(encoding="utf-8")
    named = re.findall(r"^source: (\S+)$", page, re.MULTILINE)
    kinds = set()
    for text in named:
        address = SourceAddress.parse(text, tmp_path)
        open_source(address, Key(bytes(16)), None)
        kinds.add(address.kind)
    assert kinds == {"tcp", "tcp-listen", "udp", "mqtt", "mqtts"}
    table = re.findall(r"`([a-z-]+):[^`]*`", page.split("\n## ")[0])
    assert set(KINDS) <= set(table)
