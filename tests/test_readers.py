"""Who reads which map: found by a part of the name, the usual ones first."""

import pytest

from gateway import map_library
from gateway.readers import FIRST_MAPS, Reader, readers, search
from gateway.registers.mapfile import TRANSPORTS

MAPS = {name: map_library.load(name, None).written for name in map_library.find(None)}
THREE = readers(MAPS, is_single_phase=False)
ONE = readers(MAPS, is_single_phase=True)


def test_every_reader_of_every_map_is_there() -> None:
    assert sorted((each.map_name, each.name) for each in THREE) == sorted(
        (name, reader) for name, written in MAPS.items() for reader in written.readers
    )
    assert sorted(map(repr, ONE)) == sorted(map(repr, THREE))


def test_every_reader_asks_as_its_map_can_be_asked() -> None:
    for each in THREE:
        assert each.over in MAPS[each.map_name].over
        assert each.over in TRANSPORTS
        assert 1 <= each.unit_id <= 255


def test_the_maps_that_come_first_are_shipped() -> None:
    assert set(FIRST_MAPS) <= set(MAPS)


@pytest.mark.parametrize(
    ("words", "map_name", "over", "unit_id"),
    [
        ("fronius", "fronius_smart_meter_213", "tcp", 1),
        ("FRONIUS symo rs485", "fronius_ts65a3_rtu", "rtu", 1),
        ("victron", "carlo_gavazzi_em24_e1", "tcp", 1),
        ("sma data", "sunspec_213", "tcp", 1),
        ("solaredge inverters", "wattnode_wnc_3y", "rtu", 2),
        ("huawei sun2000", "huawei_dtsu666h", "rtu", 11),
        ("sungrow", "sungrow_dtsu666", "rtu", 254),
        ("growatt inverters", "eastron_sdm630", "rtu", 1),
        ("warp energy", "sunspec_213", "tcp", 1),
        ("mpm3pm", "openwb_mpm3pm", "rtu over tcp", 5),
        ("umg 605", "janitza_umg", "tcp", 2),
        ("plc", "obis_plain", "tcp", 1),
    ],
)
def test_the_first_that_is_found_is_the_usual_one(
    words: str, map_name: str, over: str, unit_id: int
) -> None:
    first = search(THREE, words)[0]
    assert (first.map_name, first.over, first.unit_id) == (map_name, over, unit_id)


def test_whose_name_begins_with_the_words_comes_before_whom_they_are_said_of() -> None:
    found = search(THREE, "fronius")
    begins = [each.name.lower().startswith("fronius") for each in found]
    assert begins == sorted(begins, reverse=True)
    assert not begins[-1]


def test_a_house_with_one_phase_is_offered_meters_with_one_phase_first() -> None:
    assert search(ONE, "victron")[0].map_name == "abb_b21"
    assert search(ONE, "sma data")[0].map_name in ("sunspec_201", "sunspec_211")


def test_meters_of_other_grids_come_last() -> None:
    names = [each.map_name for each in search(THREE, "sma data edmm")]
    assert set(names[-4:]) == {"sunspec_202", "sunspec_204", "sunspec_212", "sunspec_214"}


def test_what_nobody_is_called_finds_nobody() -> None:
    assert not search(THREE, "fronius toaster")


def test_a_unit_id_in_a_name_counts_more_than_the_maps() -> None:
    assert Reader.of("kit (unit id 7)", "openwb_mpm3pm", MAPS["openwb_mpm3pm"]).unit_id == 7
