"""Single shipped maps: what their clients rely on."""

import struct
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache

import pytest

from gateway import map_library
from gateway.registers import ExceptionCode, Image, RegisterMap, Table
from gateway.snapshot import QUANTITIES, Snapshot
from gateway.snapshot.quantities import TEXTS

Build = Callable[[Mapping[str, object]], Snapshot]
Pushed = Callable[[str], Snapshot]

READINGS = {
    "0-0:1.0.0": datetime(2024, 7, 1, 10, 0, 0, tzinfo=UTC),
    "0-0:96.1.0": "1KFM0215916069",
    "0-0:42.0.0": "KFM1200215916069",
    "1-0:32.7.0": 230.1,
    "1-0:52.7.0": 231.8,
    "1-0:72.7.0": 229.2,
    "1-0:31.7.0": 7.15,
    "1-0:51.7.0": 3.3,
    "1-0:71.7.0": 1.44,
    "1-0:1.7.0": 0,
    "1-0:2.7.0": 2_643,
    "1-0:1.8.0": 12_345_678,
    "1-0:2.8.0": 9_876_543,
    "1-0:3.8.0": 457_012,
    "1-0:4.8.0": 3_928_765,
    "1-0:13.7.0": 0.987,
    "1-0:3.7.0": 12,
    "1-0:4.7.0": 431,
    "1-0:1.8.1": 12_000_000,
    "1-0:1.8.2": 345_678,
    "1-0:2.8.1": 9_000_000,
    "1-0:2.8.2": 876_543,
}


@cache
def shipped(name: str) -> RegisterMap:
    return map_library.load(name, None)


def read(image: Image, address: int, count: int, table: Table) -> bytes:
    found = image.read(table, address, count)
    assert isinstance(found, bytes), (address, count, found)
    return found


def number(image: Image, address: int, code: str, table: Table = Table.INPUT) -> int | float:
    return struct.unpack(code, read(image, address, struct.calcsize(code) // 2, table))[0]


@pytest.mark.parametrize("name", ["sunspec_203", "sunspec_213", "obis_plain"])
def test_both_tables_hold_the_same(snapshot: Build, name: str) -> None:
    served = shipped(name)
    image = served.render(snapshot(READINGS))
    for register in served.registers:
        holding, inputs = (
            read(image, register.address, register.words, table)
            for table in (Table.HOLDING, Table.INPUT)
        )
        assert holding == inputs


# --- SunSpec --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sunspec_203", "sunspec_213"])
@pytest.mark.parametrize("table", Table)
def test_a_sunspec_scan_finds_marker_models_and_end(
    snapshot: Build, name: str, table: Table
) -> None:
    image = shipped(name).render(snapshot(READINGS))
    assert read(image, 40000, 2, table) == b"SunS"
    chain, address = [], 40002
    while (model := number(image, address, ">H", table)) != 0xFFFF:
        length = int(number(image, address + 1, ">H", table))
        chain.append((address, model, length))
        address += 2 + length
    assert (
        chain
        == {
            "sunspec_203": [(40002, 1, 66), (40070, 203, 105)],
            "sunspec_213": [(40002, 1, 66), (40070, 213, 124)],
        }[name]
    )
    assert number(image, address + 1, ">H", table) == 0
    assert image.read(table, address + 2, 1) is ExceptionCode.ILLEGAL_DATA_ADDRESS


@pytest.mark.parametrize("name", ["sunspec_203", "sunspec_213"])
def test_a_sunspec_meter_has_no_hole_from_marker_to_end(snapshot: Build, name: str) -> None:
    served = shipped(name)
    (span,) = served.layout.spans[Table.HOLDING]
    assert (span.first, span.end) == (40000, {"sunspec_203": 40179, "sunspec_213": 40198}[name])
    assert sum(register.words for register in served.registers) == span.end - span.first


@pytest.mark.parametrize("name", ["sunspec_203", "sunspec_213"])
@pytest.mark.parametrize("base", [0, 50000])
def test_a_probe_of_the_other_base_addresses_is_an_illegal_address(name: str, base: int) -> None:
    image = shipped(name).render(None)
    for count in (2, 3, 4):
        assert image.read(Table.HOLDING, base, count) is ExceptionCode.ILLEGAL_DATA_ADDRESS


@pytest.mark.parametrize("name", ["sunspec_203", "sunspec_213"])
def test_a_sunspec_scan_of_the_headers_is_answered_before_the_first_telegram(name: str) -> None:
    served = shipped(name)
    end = 40177 if name == "sunspec_203" else 40196
    for address, count in ((40000, 2), (40000, 4), (40002, 50), (40070, 2), (end, 2)):
        word = served.layout.locate(Table.HOLDING, address, count)
        assert not isinstance(word, ExceptionCode)
        assert not served.layout.is_measured(word, count)


@pytest.mark.parametrize("name", ["sunspec_203", "sunspec_213"])
def test_a_sunspec_meter_says_who_it_is(snapshot: Build, name: str) -> None:
    image = shipped(name).render(snapshot(READINGS))
    texts = [
        read(image, address, words, Table.HOLDING).rstrip(b"\0").decode()
        for address, words in ((40004, 16), (40020, 16), (40036, 8), (40044, 8), (40052, 16))
    ]
    assert texts == ["obisgate", "Smart meter gateway", "", "1.0", "1KFM0215916069"]


@pytest.mark.parametrize(
    ("address", "code", "value"),
    [
        (40072, ">f", 11.89),  # A
        (40074, ">f", 7.15),  # AphA
        (40078, ">f", 1.44),  # AphC
        (40082, ">f", 230.1),  # PhVphA
        (40086, ">f", 229.2),  # PhVphC
        (40096, ">f", 50.0),  # Hz
        (40098, ">f", -2643.0),  # W
        (40130, ">f", 9_876_543.0),  # TotWhExp
        (40138, ">f", 12_345_678.0),  # TotWhImp
        (40162, ">f", 457_012.0),  # TotVArhImpQ1
        (40186, ">f", 3_928_765.0),  # TotVArhExpQ4
        (40194, ">I", 0),  # Evt
    ],
)
def test_sunspec_213_shows_the_most_important_points(
    snapshot: Build, address: int, code: str, value: float
) -> None:
    image = shipped("sunspec_213").render(snapshot(READINGS))
    assert number(image, address, code) == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize(
    ("address", "code", "raw"),
    [
        (40072, ">h", 1189),  # A, 10 mA
        (40076, ">h", -2),  # A_SF
        (40078, ">h", 2301),  # PhVphA, 0.1 V
        (40085, ">h", -1),  # V_SF
        (40086, ">h", 5000),  # Hz, 10 mHz
        (40087, ">h", -2),  # Hz_SF
        (40088, ">h", -264),  # W, 10 W
        (40092, ">h", 1),  # W_SF
        (40103, ">h", 987),  # PF, 0.1 %
        (40107, ">h", -1),  # PF_SF
        (40108, ">I", 9_876_543),  # TotWhExp
        (40116, ">I", 12_345_678),  # TotWhImp
        (40124, ">h", 0),  # TotWh_SF
        (40142, ">I", 457_012),  # TotVArhImpQ1
        (40166, ">I", 3_928_765),  # TotVArhExpQ4
        (40175, ">I", 0),  # Evt
    ],
)
def test_sunspec_203_shows_the_most_important_points(
    snapshot: Build, address: int, code: str, raw: int
) -> None:
    image = shipped("sunspec_203").render(snapshot(READINGS))
    assert number(image, address, code) == raw


def test_sunspec_203_phases_sum_to_the_total_in_its_steps(snapshot: Build) -> None:
    image = shipped("sunspec_203").render(snapshot(READINGS))
    total, *phases = (number(image, address, ">h") for address in range(40088, 40092))
    assert sum(phases) == total == -264
    assert all(phase < 0 for phase in phases)


# --- Eastron --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "value"),
    [
        (0, 230.1),
        (4, 229.2),
        (6, 7.15),
        (48, 11.89),
        (52, -2643.0),
        (62, -0.987),  # the sign of the power, which is fed in
        (30, -0.987),
        (70, 50.0),
        (72, 12_345.678),
        (74, 9_876.543),
        (76, 457.012),
        (78, 3_928.765),
        (342, 22_222.221),
        (344, 4_385.777),
    ],
)
def test_eastron_shows_the_most_important_registers(
    snapshot: Build, address: int, value: float
) -> None:
    image = shipped("eastron_sdm630").render(snapshot(READINGS))
    assert number(image, address, ">f") == pytest.approx(value, rel=1e-6)


def test_eastron_phase_powers_sum_to_the_total(snapshot: Build) -> None:
    image = shipped("eastron_sdm630").render(snapshot(READINGS))
    assert sum(number(image, address, ">f") for address in (12, 14, 16)) == -2643.0


@pytest.mark.parametrize(("address", "count"), [(44, 2), (50, 2), (68, 2), (208, 16), (226, 8)])
def test_eastron_addresses_without_register_read_zero(
    snapshot: Build, address: int, count: int
) -> None:
    image = shipped("eastron_sdm630").render(snapshot(READINGS))
    assert read(image, address, count, Table.INPUT) == bytes(2 * count)


def test_eastron_is_read_in_blocks_of_80(snapshot: Build) -> None:
    image = shipped("eastron_sdm630").render(snapshot(READINGS))
    for address, count in ((0, 80), (28, 80), (200, 70), (334, 48)):
        assert len(read(image, address, count, Table.INPUT)) == 2 * count
    assert image.read(Table.INPUT, 0, 81) is ExceptionCode.ILLEGAL_DATA_VALUE
    for address, count in ((108, 1), (107, 2), (382, 1), (200, 71)):
        assert image.read(Table.INPUT, address, count) is ExceptionCode.ILLEGAL_DATA_ADDRESS


def test_eastron_holding_registers_are_its_configuration_not_its_measurements(
    snapshot: Build,
) -> None:
    image = shipped("eastron_sdm630").render(snapshot(READINGS))
    assert number(image, 10, ">f", Table.HOLDING) == 3.0
    assert number(image, 10, ">f", Table.INPUT) == pytest.approx(1.44)
    assert number(image, 64512, ">I", Table.HOLDING) == 215_916_069
    assert number(image, 64514, ">H", Table.HOLDING) == 112
    assert image.read(Table.HOLDING, 342, 2) is ExceptionCode.ILLEGAL_DATA_ADDRESS
    assert image.read(Table.INPUT, 64512, 2) is ExceptionCode.ILLEGAL_DATA_ADDRESS


# --- obis_plain -----------------------------------------------------------------------------

PLAIN = {
    "0-0:1.0.0": (2, ">I"),
    "1-0:1.7.0": (6, ">I"),
    "1-0:2.7.0": (8, ">I"),
    "1-0:1.8.0": (10, ">I"),
    "1-0:2.8.0": (12, ">I"),
    "1-0:3.8.0": (14, ">I"),
    "1-0:4.8.0": (16, ">I"),
    "1-0:32.7.0": (18, ">f"),
    "1-0:52.7.0": (20, ">f"),
    "1-0:72.7.0": (22, ">f"),
    "1-0:31.7.0": (24, ">f"),
    "1-0:51.7.0": (26, ">f"),
    "1-0:71.7.0": (28, ">f"),
    "1-0:13.7.0": (30, ">f"),
    "0-0:96.1.0": (32, "8 registers"),
    "0-0:42.0.0": (40, "8 registers"),
    "1-0:3.7.0": (50, ">I"),
    "1-0:4.7.0": (52, ">I"),
    "1-0:1.8.1": (54, ">I"),
    "1-0:1.8.2": (56, ">I"),
    "1-0:2.8.1": (58, ">I"),
    "1-0:2.8.2": (60, ">I"),
}


def test_obis_plain_has_a_register_for_every_obis_code_that_is_a_quantity_or_text() -> None:
    codes = {str(quantity.obis) for quantity in QUANTITIES.values() if quantity.obis}
    assert {f"{code}.255" for code in PLAIN} == codes | {str(code) for code in TEXTS.values()}


@pytest.mark.parametrize(("code", "place"), PLAIN.items())
def test_obis_plain_shows_each_reading(snapshot: Build, code: str, place: tuple[int, str]) -> None:
    image = shipped("obis_plain").render(snapshot(READINGS))
    address, kind = place
    sent = READINGS[code]
    if isinstance(sent, str):
        assert read(image, address, 8, Table.INPUT) == sent.encode().ljust(16, b"\0")
    elif isinstance(sent, datetime):
        assert number(image, address, kind) == 1_719_828_000
    else:
        assert number(image, address, kind) == pytest.approx(sent, rel=1e-7)


def test_obis_plain_shows_the_signed_power_and_the_telegrams_age(snapshot: Build) -> None:
    served = shipped("obis_plain")
    image = served.render(snapshot(READINGS))
    assert number(image, 4, ">i") == -2643
    word = served.layout.locate(Table.HOLDING, 0, 4)
    assert not isinstance(word, ExceptionCode)
    aged = served.with_own(read(image, 0, 4, Table.HOLDING), word, lambda: {"telegram_age": 3.2})
    assert struct.unpack(">2I", aged) == (3, 1_719_828_000)
    assert not served.layout.is_measured(word, 2)
    assert served.layout.is_measured(word, 3)


def test_obis_plain_is_one_block_without_a_hole() -> None:
    (span,) = shipped("obis_plain").layout.spans[Table.HOLDING]
    assert (span.first, span.end) == (0, 62)
