"""What a map says that it was tested with are the clients that read it here."""

import json
from pathlib import Path

import pytest

from gateway import map_library

from .clients import CLIENTS, EVERY, readers_of

NODE = Path(__file__).parent / "node"


@pytest.mark.parametrize("name", EVERY)
def test_a_map_names_the_clients_that_read_it_here(name: str) -> None:
    assert list(map_library.load(name, None).written.tested_with) == readers_of(name)


def test_every_client_reads_maps_that_there_are() -> None:
    for maps in CLIENTS.values():
        assert maps
        assert set(maps) <= set(EVERY)


def test_the_lock_of_node_pins_everything_with_hashes_and_names_no_address() -> None:
    text = (NODE / "package-lock.json").read_text("utf-8")
    assert "://" not in text
    packages = json.loads(text)["packages"]
    wanted = json.loads((NODE / "package.json").read_text("utf-8"))["dependencies"]
    assert packages.pop("")["dependencies"] == wanted
    for name, package in packages.items():
        assert package["integrity"].startswith("sha512-"), name
        assert "resolved" not in package, name
    for name, version in wanted.items():
        assert packages[f"node_modules/{name}"]["version"] == version
