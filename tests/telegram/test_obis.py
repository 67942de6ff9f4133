"""OBIS codes: how they are written, and the unit table."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.simulator import MODELS, SimulatedMeter
from gateway.telegram.obis import CLOCK, EXPECTED_UNITS, METER_NUMBER, NAMED_TEXTS, UNITS, Obis

groups = st.integers(0, 255)
codes = st.builds(Obis, *[groups] * 6)


@pytest.mark.parametrize(
    "text",
    [
        "1-0:1.7.0",
        "1-0:1.7.0.255",
        "1-0:1.7.0*255",
        "1.0.1.7.0",
        "1.0.1.7.0.255",
        " 1-0:1.7.0.255\n",
        "01-00:001.007.000.255",
    ],
)
def test_every_spelling_of_a_code_is_the_same_code(text: str) -> None:
    assert Obis.parse(text) == Obis(1, 0, 1, 7, 0, 255)


def test_the_sixth_group_is_kept() -> None:
    assert Obis.parse("1-0:1.8.0*1") == Obis(1, 0, 1, 8, 0, 1) != Obis(1, 0, 1, 8, 0)


@given(code=codes)
def test_any_code_comes_back_from_its_text(code: Obis) -> None:
    assert Obis.parse(str(code)) == code


def test_a_code_shows_as_people_write_it() -> None:
    assert str(Obis(1, 0, 1, 7, 0)) == f"{Obis(1, 0, 1, 7, 0)}" == "1-0:1.7.0.255"
    assert (str(CLOCK), str(METER_NUMBER)) == ("0-0:1.0.0.255", "0-0:96.1.0.255")


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "power",
        "1-0:1.7",
        "1-0:1.7.0.255.1",
        "1-0:1.7.0.256",
        "256-0:1.7.0",
        "-1-0:1.7.0",
        "1-0:1..0",
        "1-0:1.7.0.",
        "1-0:1.7.x",
        "1 0 1 7 0",
        "0x1-0:1.7.0",
    ],
)
def test_what_is_no_code_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="one looks like 1-0:1") as error:
        Obis.parse(text)
    assert repr(text) in str(error.value)


@given(text=st.text(max_size=30))
def test_any_text_is_a_code_or_a_value_error(text: str) -> None:
    try:
        code = Obis.parse(text)
    except ValueError:
        return
    assert Obis.parse(str(code)) == code


def test_unit_codes_are_those_of_the_blue_book() -> None:
    assert UNITS == {
        27: "W",
        28: "VA",
        29: "var",
        30: "Wh",
        31: "VAh",
        32: "varh",
        33: "A",
        35: "V",
        44: "Hz",
        255: None,
    }


@pytest.mark.parametrize(
    ("codes", "unit"),
    [
        (("32.7", "52.7", "72.7"), "V"),
        (("31.7", "51.7", "71.7"), "A"),
        (("1.7", "2.7"), "W"),
        (("3.7", "4.7"), "var"),
        (("1.8", "2.8"), "Wh"),
        (("3.8", "4.8"), "varh"),
        (("13.7",), None),
    ],
)
def test_each_object_of_the_push_lists_has_its_unit(
    codes: tuple[str, ...], unit: str | None
) -> None:
    for code in codes:
        assert EXPECTED_UNITS[Obis.parse(f"1-0:{code}.0.255")] == unit


@pytest.mark.parametrize("tariff", range(5))
def test_each_tariff_has_the_unit_of_the_sum(tariff: int) -> None:
    for code, unit in ((1, "Wh"), (2, "Wh"), (3, "varh"), (4, "varh")):
        assert EXPECTED_UNITS[Obis(1, 0, code, 8, tariff)] == unit


def test_every_channel_of_an_object_is_the_object() -> None:
    assert Obis(1, 1, 1, 8, 0).channel_0 == Obis(1, 0, 1, 8, 0).channel_0 == Obis(1, 0, 1, 8, 0)


def test_what_is_a_text_has_no_unit() -> None:
    assert not NAMED_TEXTS & set(EXPECTED_UNITS)


@pytest.mark.parametrize("model", MODELS)
def test_every_number_of_every_model_has_a_unit_that_is_expected(model: str) -> None:
    meter = SimulatedMeter(model, bytes(16), seed=7, start=datetime(2024, 7, 1, tzinfo=UTC))
    for code, (value, unit) in meter.push().readings.items():
        if isinstance(value, int | float):
            assert EXPECTED_UNITS[Obis.parse(code).channel_0] == unit
        else:
            assert Obis.parse(code) in NAMED_TEXTS
