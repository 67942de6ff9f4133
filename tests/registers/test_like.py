"""Maps that are like another one: what they take over, replace and leave out."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from gateway import map_library
from gateway.located import ConfigError
from gateway.registers import ExceptionCode, Given, Image, RegisterMap, Stale, Table
from gateway.registers.given import NOTHING_GIVEN

PARENT = """\
name: Parent
base: 100
tables: [input]
word_order: little
not_available: {int16: 0x7FFF}
zero_ranges: [[40, 49]]
filled_ranges: [[50, 59, 0xFFFF]]
ignored_writes: [[60, 61]]
whole_values: true
max_read: 20
identity: {vendor: V, product: P, revision: R}
server_id: PARENT
stale: silent
port: 1502
unit_ids: [1, 2]
over: [rtu]
readers: [a box]
sources: [a document]
notes: [a note]
registers:
  - {address: 0, value: 0x00010002, type: uint32}
  - {address: 2, value: 0x0003, type: uint16}
  - {address: 3, value: 0x0004, type: uint16}
  - {address: 4, value: 0x0005, type: uint16, table: holding}
  - {address: 5, text: abcd, type: string, length: 2}
"""
LIKE = "name: Child\nlike: parent\n"


def child(text: str, given: Given = NOTHING_GIVEN, **others: str) -> RegisterMap:
    """Compile a map that may be like the parent, or like others by their name."""
    known = {"parent": PARENT, **others}

    def find(name: str, _file: str) -> tuple[str, str] | None:
        return (known[name], f"{name}.yaml") if name in known else None

    return RegisterMap.parse(text, "child.yaml", given, find)


def refusal(text: str, **others: str) -> str:
    with pytest.raises(ConfigError) as caught:
        child(text, **others)
    return str(caught.value)


def word(image: Image, address: int, table: Table = Table.INPUT) -> int | ExceptionCode:
    found = image.read(table, address, 1)
    return int.from_bytes(found, "big") if isinstance(found, bytes) else found


def words(served: RegisterMap, *addresses: int, table: Table = Table.INPUT) -> list[object]:
    image = served.render(None)
    return [word(image, address, table) for address in addresses]


SINGLE = f"{LIKE}whole_values: false\n"  # so that a test may read word by word


def test_a_map_that_adds_nothing_serves_what_the_other_serves() -> None:
    ours, theirs = child(LIKE), RegisterMap.parse(PARENT, "parent.yaml")
    assert ours.render(None).octets == theirs.render(None).octets
    assert ours.layout == theirs.layout


def test_name_readers_notes_and_sources_are_never_taken_over() -> None:
    written = child(LIKE).written
    assert written.name == "Child"
    assert (written.readers, written.notes, written.sources) == ([], [], [])
    without_name = LIKE.replace("name: Child\n", "")
    assert refusal(without_name) == "child.yaml:1:1: 'name' is missing here"


def test_all_other_words_are_taken_over() -> None:
    ours, theirs = child(LIKE).written, RegisterMap.parse(PARENT, "parent.yaml").written
    for name in (
        *("base", "tables", "word_order", "filled", "ignored_writes", "whole_values", "max_read"),
        *("identity", "server_id", "stale", "port", "unit_ids", "over"),
    ):
        assert getattr(ours, name) == getattr(theirs, name), name


@pytest.mark.parametrize(
    ("line", "attribute", "value"),
    [
        ("base: 7", "base", 7),
        ("tables: [holding]", "tables", {Table.HOLDING}),
        ("word_order: big", "word_order", "big"),
        ("zero_ranges: []", "filled", [(150, 159, 0xFFFF)]),
        ("filled_ranges: []", "filled", [(140, 149, 0)]),
        ("ignored_writes: [[1, 2]]", "ignored_writes", [(101, 102)]),
        ("whole_values: false", "whole_values", False),
        ("max_read: 100", "max_read", 100),
        ("server_id: CHILD", "server_id", "CHILD"),
        ("stale: exception", "stale", Stale.EXCEPTION),
        ("port: 502", "port", 502),
        ("unit_ids: []", "unit_ids", []),
        ("over: [tcp, udp]", "over", ["tcp", "udp"]),
    ],
)
def test_a_word_of_its_own_replaces_the_others(line: str, attribute: str, value: object) -> None:
    assert getattr(child(f"{LIKE}{line}\n").written, attribute) == value


def test_the_others_words_hold_for_lines_of_ones_own_too() -> None:
    text = f"{SINGLE}registers:\n  - {{address: 10, value: 0x000A000B, type: uint32}}\n"
    assert words(child(text), 110, 111) == [0x000B, 0x000A]
    missing = f"{LIKE}registers:\n  - {{address: 10, quantity: voltage_l1, type: int16}}\n"
    assert words(child(missing), 110) == [0x7FFF]


def test_ones_own_words_hold_for_the_others_lines_too() -> None:
    assert words(child(f"{SINGLE}word_order: big\nbase: 0\n"), 0, 1) == [0x0001, 0x0002]
    assert words(child(f"{LIKE}tables: [holding]\n"), 102, 103, table=Table.HOLDING) == [3, 4]


# --- lines ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("{address: 2, value: 0x33, type: uint16}", [2, 1, 0x33, 4]),
        ("{address: 2, value: 0x00330044, type: uint32}", [2, 1, 0x44, 0x33]),
        ("{address: 0, value: 0x33, type: uint16}", [0x33, None, 3, 4]),
        ("{address: 1, value: 0x33, type: uint16}", [None, 0x33, 3, 4]),
        ("{address: 1, value: 0x00330044, type: uint32}", [None, 0x44, 0x33, 4]),
        ("{address: 0x2, value: 0x33, type: uint16}", [2, 1, 0x33, 4]),
        ("{address: 7, value: 0x33, type: uint16}", [2, 1, 3, 4]),
    ],
    ids=["the same", "longer", "its front", "its end", "across two", "hexadecimal", "none"],
)
def test_a_line_takes_the_place_of_all_lines_that_lie_where_it_does(
    line: str, shown: list[int | None]
) -> None:
    served = child(f"{SINGLE}registers:\n  - {line}\n")
    expected = [ExceptionCode.ILLEGAL_DATA_ADDRESS if each is None else each for each in shown]
    assert words(served, 100, 101, 102, 103) == expected


def test_a_line_of_another_table_takes_no_place() -> None:
    # The parent's lines that name no table lie in `tables: [input]` alone.
    text = f"{LIKE}registers:\n  - {{address: 2, value: 0x33, type: uint16, table: holding}}\n"
    served = child(text)
    assert words(served, 102) == [3]
    assert words(served, 102, 104, table=Table.HOLDING) == [0x33, 5]
    other = f"{LIKE}registers:\n  - {{address: 4, value: 0x55, type: uint16}}\n"
    assert words(child(other), 104) == [0x55]
    assert words(child(other), 104, table=Table.HOLDING) == [5]


def test_an_only_count_line_lies_over_the_others_and_takes_the_place_of_its_kind() -> None:
    line = "{address: 0, value: 0x77, type: uint16, only_count: 1}"
    first = f"{SINGLE}registers:\n  - {line}\n"
    served = child(first)
    assert words(served, 100) == [0x77]
    assert served.render(None).read(Table.INPUT, 100, 2) == bytes.fromhex("00020001")
    again = f"name: x\nlike: first\nregisters:\n  - {line.replace('0x77', '0x88')}\n"
    assert words(child(again, first=first), 100) == [0x88]


def test_without_takes_away_lines_that_lie_wholly_in_its_ranges() -> None:
    gone = ExceptionCode.ILLEGAL_DATA_ADDRESS
    assert words(child(f"{SINGLE}without: [[2, 2]]\n"), 101, 102, 103) == [1, gone, 4]
    assert words(child(f"{SINGLE}without: [[1, 2]]\n"), 101, 102, 103) == [1, gone, 4]
    served = child(f"{SINGLE}without: [[0, 1], [3, 6]]\n")
    assert words(served, 100, 102, 103) == [gone, 3, gone]
    assert words(served, 104, table=Table.HOLDING) == [gone]


def test_without_leaves_ones_own_lines() -> None:
    text = f"{LIKE}without: [[0, 99]]\nregisters:\n  - {{address: 3, value: 9, type: uint16}}\n"
    assert [register.address for register in child(text).registers] == [103]


def test_a_map_of_which_nothing_is_left_is_refused() -> None:
    message = refusal(f"{LIKE}without: [[0, 99]]\n")
    assert message == "parent.yaml:21:3: a map has at least one register"


def test_addresses_and_without_count_from_ones_own_base() -> None:
    text = (
        f"{LIKE}base: 0\nwithout: [[2, 2]]\nregisters:\n  - {{address: 3, value: 9, type: int16}}"
    )
    assert words(child(f"{text}\n"), 2, 3) == [ExceptionCode.ILLEGAL_DATA_ADDRESS, 9]
    moved = child(f"{text}\n", Given(base=1000))
    assert words(moved, 1002, 1003) == [ExceptionCode.ILLEGAL_DATA_ADDRESS, 9]


def test_a_scale_register_of_the_other_scales_ones_own_line() -> None:
    scaled = PARENT + "  - {address: 9, value: -1, type: sunssf}\n"
    text = (
        "name: x\nlike: scaled\nregisters:\n"
        "  - {address: 10, quantity: voltage_l1, type: int16, scale_register: 9}\n"
    )
    (register,) = (r for r in child(text, scaled=scaled).registers if r.quantity)
    assert register.exponent == -1


# --- errors ---------------------------------------------------------------------------------


def test_a_map_that_there_is_not_is_named() -> None:
    assert refusal("name: x\nlike: parnet\n") == "child.yaml:2:7: there is no map 'parnet'"


@pytest.mark.parametrize(
    "others",
    [
        {"first": "name: x\nlike: first\n"},
        {"first": "name: x\nlike: second\n", "second": "name: x\nlike: first\n"},
    ],
    ids=["itself", "two"],
)
def test_maps_that_are_like_each_other_in_a_circle_are_refused(others: Mapping[str, str]) -> None:
    message = refusal("name: x\nlike: first\n", **others)
    assert message.endswith(".yaml:2:7: maps are like each other in a circle")


def test_a_map_may_be_like_one_that_is_like_another() -> None:
    middle = f"{LIKE}registers:\n  - {{address: 2, value: 0x22, type: uint16}}\n"
    text = "name: x\nlike: middle\nregisters:\n  - {address: 3, value: 0x33, type: uint16}\n"
    assert words(child(text, middle=middle), 102, 103) == [0x22, 0x33]


def test_an_error_in_the_other_names_its_file_line_and_column() -> None:
    broken = PARENT.replace("0x0003", "0x10003")
    message = refusal("name: x\nlike: broken\n", broken=broken)
    assert message == "broken.yaml:22:25: uint16 cannot hold 65539"


def test_lines_that_meet_in_the_other_name_its_file() -> None:
    twice = PARENT.replace("address: 3", "address: 2")
    message = refusal("name: x\nlike: twice\n", twice=twice)
    assert message == "twice.yaml:23:5: register 102 is already taken by line 22"
    mixed = "name: x\nlike: parent\ntables: [input]\nregisters:\n"
    line = "  - {address: 9, value: 1, type: uint16}\n"
    message = refusal(f"{mixed}{line}{line}")
    assert message == "child.yaml:6:5: register 109 is already taken by line 5"


@pytest.mark.parametrize(
    ("lines", "place"),
    [
        ("registers:\n  - {value: 1, type: uint16}\n", "4:5: 'address' is missing here"),
        ("registers:\n  - {address: 1, value: 1}\n", "4:5: 'type' is missing here"),
        ("without: [[1]]\n", "3:11: expected [first, last]"),
        ("without: [[2, 1]]\n", "3:15: 1 is not between 2 and 65535"),
        ("tables: [inptu]\n", "3:10: unknown table 'inptu', did you mean 'input'?"),
    ],
)
def test_a_mistake_of_ones_own_is_shown_at_its_place(lines: str, place: str) -> None:
    assert refusal(f"{LIKE}{lines}") == f"child.yaml:{place}"


# --- in the library -------------------------------------------------------------------------


def test_a_map_of_the_users_folder_is_like_a_shipped_one(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("name: Mine\nlike: obis_plain\nstale: silent\n")
    mine, plain = map_library.load("mine", tmp_path), map_library.load("obis_plain", None)
    assert mine.written.stale is Stale.SILENT
    assert mine.render(None).octets == plain.render(None).octets


def test_a_users_map_may_be_like_the_shipped_one_of_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "obis_plain.yaml").write_text("name: Mine\nlike: obis_plain\nmax_read: 9\n")
    mine, plain = map_library.load("obis_plain", tmp_path), map_library.load("obis_plain", None)
    assert (mine.written.name, mine.written.max_read, plain.written.max_read) == ("Mine", 9, 125)
    assert mine.render(None).octets == plain.render(None).octets


def test_a_map_like_a_users_map_that_is_like_the_shipped_one_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "obis_plain.yaml").write_text("name: Mine\nlike: obis_plain\nmax_read: 9\n")
    (tmp_path / "other.yaml").write_text("name: Other\nlike: obis_plain\n")
    assert map_library.load("other", tmp_path).written.max_read == 9


def test_a_map_like_itself_is_like_one_that_there_is_not(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("name: Mine\nlike: mine\n")
    with pytest.raises(ConfigError) as caught:
        map_library.load("mine", tmp_path)
    assert str(caught.value) == f"{path}:2:7: there is no map 'mine'"
