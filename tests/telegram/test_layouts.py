"""Lists of bare values: the table of layouts, its grammar, and which layout is whose."""

from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.simulator import MODELS, SIMULATED_AUTH_KEY, Push, SimulatedMeter
from gateway.simulator.frames import (
    Unit,
    date_time,
    obis,
    octet_string,
    scaler_unit,
    structure,
    u16,
    u32,
)
from gateway.simulator.local_time import austrian
from gateway.telegram import (
    Decoder,
    Fault,
    Key,
    Layer,
    Layout,
    Obis,
    Reading,
    Telegram,
    axdr,
    ciphering,
    named,
    notification,
)
from gateway.telegram.frames import Frame, FrameReader
from gateway.telegram.layouts import (
    LAYOUTS,
    Item,
    by_count,
    recognise,
    recognise_objects,
)
from gateway.telegram.listing import Listing
from gateway.telegram.obis import CLOCK, LOCAL_DATE, LOCAL_TIME, METER_NUMBER
from gateway.telegram.segments import Apdu, Assembler

MOMENT = datetime(2024, 7, 1, 10, 0, 0, tzinfo=UTC)
CLOCK_OCTETS = octet_string(date_time(austrian(MOMENT), summer=True))
KEY = bytes(range(16))

# What each list is known to be: the order of codes, with their units; "-" is not read.
ENERGIES = "1.8.0=Wh 2.8.0=Wh 3.8.0=varh 4.8.0=varh"
POWERS = "1.7.0=W 2.7.0=W"
VIENNA = f"clock {ENERGIES} {POWERS} 3.7.0=var 4.7.0=var"
CARINTHIA = f"obis number time date {ENERGIES} {POWERS}"
BURGENLAND = (
    "32.7.0=V 52.7.0=V 72.7.0=V 31.7.0=A 51.7.0=A 71.7.0=A 1.7.0=W 2.7.0=W 1.8.0=Wh 2.8.0=Wh"
)
TARIFFS = " ".join(
    f"obis {c}.8.0={energy} obis {c}.8.1={energy} obis {c}.8.2={energy} obis {c}.7.0={power}"
    for c, energy, power in ((1, "Wh", "W"), (2, "Wh", "W"), (3, "varh", "var"), (4, "varh", "var"))
)
EXPECTED = {
    "wiener-netze-9": ("ISK LGZ", VIENNA),
    "wiener-netze-10": ("SMS", f"number {VIENNA}"),
    "kaernten-12": ("ISK SMS", f"{CARINTHIA} - -"),
    "wels-10": ("SMS", CARINTHIA),
    "burgenland-11": ("LGZ", f"{BURGENLAND} number"),
    "burgenland-14": ("LGZ", f"{BURGENLAND} - - - number"),
    "landis-gyr-33": ("LGZ", f"clock {TARIFFS}"),
}
WORDS: Mapping[str, Obis | None] = {
    "clock": CLOCK, "number": METER_NUMBER, "time": LOCAL_TIME, "date": LOCAL_DATE,
    "obis": None, "-": None,
}  # fmt: skip
ROWS = {layout.name: layout for layout in LAYOUTS}

# Which row each model's list is; None for those that name their objects.
MODEL_ROWS = {
    "iskra-am550-wienernetze": "wiener-netze-9",
    "lg-e450-wienernetze": "wiener-netze-9",
    "siemens-im350-wienernetze": "wiener-netze-10",
    "iskra-am550-kaernten": "kaernten-12",
    "iskra-am550-segmented": "kaernten-12",
    "siemens-im350-kaernten": "kaernten-12",
    "siemens-im350-wels": "wels-10",
    "lg-e450-burgenland": "burgenland-14",
    "lg-e450-gbt": "landis-gyr-33",
}


def outlined(body: bytes) -> axdr.Outline:
    found = axdr.outline(body, 0)
    assert isinstance(found, axdr.Outline), found
    return found


def listing(body: bytes, maker: bytes = b"ISK", **how: object) -> Listing | Fault:
    return recognise(outlined(body), maker + bytes(5), **how)  # type: ignore[arg-type]


def values(body: bytes, maker: bytes = b"ISK", **how: object) -> dict[str, Reading]:
    found = listing(body, maker, **how)
    assert isinstance(found, Listing), found
    readings = found.read(body)
    assert not isinstance(readings, Fault), readings
    return {str(code): reading for code, reading in readings.items()}


def refused(body: bytes, maker: bytes = b"ISK", **how: object) -> Fault:
    found = listing(body, maker, **how)
    assert isinstance(found, Fault), found
    assert found.layer is Layer.LAYOUT
    assert 0 <= found.offset < len(body)
    return found


# --- the table ------------------------------------------------------------------------------


def test_every_row_stands_in_these_tests() -> None:
    assert list(ROWS) == list(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_row_is_what_is_known_of_it(name: str) -> None:
    makers, order = EXPECTED[name]
    assert " ".join(ROWS[name].makers) == makers
    expected = []
    for word in order.split():
        code, _, unit = word.partition("=")
        obis_ = WORDS[code] if code in WORDS else Obis.parse(f"1-0:{code}")
        expected.append((obis_, unit or None))
    assert [(item.obis, item.unit) for item in ROWS[name].items] == expected
    amperes = [item.scaler for item in ROWS[name].items if item.unit == "A"]
    others = [item.scaler for item in ROWS[name].items if item.unit != "A"]
    assert set(amperes) <= {-2}
    assert set(others) == {0}


def plaintext_of(push: Push) -> bytes:
    """What stands inside a telegram: opened step by step."""
    assembler = Assembler()
    frames = FrameReader().feed(push.telegram, 0.0)
    found = [item for frame in frames if isinstance(frame, Frame) for item in assembler.add(frame)]
    (apdu,) = (item for item in found if isinstance(item, Apdu))
    sealed = ciphering.parse(apdu.content)
    assert not isinstance(sealed, Fault)
    opened = ciphering.Opener(Key(KEY), None).open(sealed)
    assert not isinstance(opened, Fault)
    return opened[0]


@pytest.mark.parametrize("model", MODELS)
def test_each_model_is_recognised_by_its_row_and_says_what_it_pushed(model: str) -> None:
    push = SimulatedMeter(model, KEY, seed=7, start=MOMENT).push()
    plaintext = plaintext_of(push)
    header = notification.header(plaintext)
    assert isinstance(header, notification.Header)
    outline = axdr.outline(plaintext, header.body_start)
    assert isinstance(outline, axdr.Outline)
    found = recognise(outline, push.system_title)
    assert isinstance(found, Listing), found
    assert found.name == MODEL_ROWS.get(model, "push list" if model == "lg-e570" else "named")
    readings = found.read(plaintext)
    assert not isinstance(readings, Fault)
    assert [(str(code), (r.value, r.unit)) for code, r in readings.items()] == list(
        push.readings.items()
    )
    # Its own row prescribed says the same; every other row says that it is not its list.
    for row in LAYOUTS:
        prescribed = recognise(outline, b"XYZ" + bytes(5), prescribed=row)
        if row.name == found.name:
            assert isinstance(prescribed, Listing)
            assert prescribed.entries == found.entries
        else:
            assert isinstance(prescribed, Fault)
            assert row.name in prescribed.reason


@pytest.mark.parametrize("model", MODEL_ROWS)
def test_a_list_of_bare_values_is_never_read_for_another_maker(model: str) -> None:
    row = ROWS[MODEL_ROWS[model]]
    push = SimulatedMeter(model, KEY, seed=7, start=MOMENT).push()
    plaintext = plaintext_of(push)
    outline = axdr.outline(plaintext, 18)
    assert isinstance(outline, axdr.Outline)
    for maker in {"ISK", "LGZ", "SMS", "KFM", "SAG", "ELS"} - set(row.makers):
        found = recognise(outline, maker.encode() + bytes(5))
        assert isinstance(found, Fault), maker
        assert found.layer is Layer.LAYOUT


def test_eleven_elements_of_burgenland_are_read() -> None:
    body = structure(
        *(u16(n) for n in (230, 231, 232, 100, 101, 102)),
        *(u32(n) for n in (1, 2, 3, 4)),
        octet_string(b"00000001"),
    )
    assert list(values(body, b"LGZ").values()) == [
        *(Reading(n, "V") for n in (230, 231, 232)),
        *(Reading(n, "A") for n in (1.0, 1.01, 1.02)),
        *(Reading(n, "W") for n in (1, 2)),
        *(Reading(n, "Wh") for n in (3, 4)),
        Reading("00000001"),
    ]


# --- which layout is whose ------------------------------------------------------------------

NINE = structure(CLOCK_OCTETS, *(u32(n) for n in range(8)))


def test_values_of_unknown_meaning_have_a_place_and_no_reading() -> None:
    body = structure(
        *(u16(n) for n in range(6)), *(u32(n) for n in range(4)),
        *(u16(n) for n in (7, 8, 9)), octet_string(b"1"),
    )  # fmt: skip
    found = listing(body, b"LGZ")
    assert isinstance(found, Listing)
    start = 2 + 6 * 3 + 4 * 5
    assert [body[begin:end][-2:] for begin, end in found.unread] == [u16(n)[1:] for n in (7, 8, 9)]
    assert all(start <= begin < end <= start + 9 for begin, end in found.unread)


def test_twelve_octets_that_are_digits_are_no_clock() -> None:
    # A Slovenian E450 lists nine elements too, but begins with its number: not Vienna's values.
    body = structure(octet_string(b"123456789012"), *(u32(n) for n in range(8)))
    found = listing(body, b"LGZ")
    if isinstance(found, Listing):
        assert isinstance(found.read(body), Fault)


@given(digits=st.text("0123456789", min_size=12, max_size=12))
def test_no_twelve_digits_are_a_clock(digits: str) -> None:
    body = structure(octet_string(digits.encode()), *(u32(n) for n in range(8)))
    found = listing(body, b"LGZ")
    assert isinstance(found, Fault) or isinstance(found.read(body), Fault)


def test_two_layouts_of_the_same_size_for_other_makers_do_not_mix() -> None:
    ours = Layout.parse("ours", "AAA", "1-0:1.7.0 u32 W\n1-0:2.7.0 u32 W")
    theirs = Layout.parse("theirs", "BBB CCC", "1-0:2.7.0 u32 W\n1-0:1.7.0 u32 W")
    body = structure(u32(1), u32(2))
    for layouts in ([ours, theirs], [theirs, ours]):
        assert values(body, b"AAA", layouts=layouts)["1-0:1.7.0.255"] == Reading(1, "W")
        assert values(body, b"BBB", layouts=layouts)["1-0:1.7.0.255"] == Reading(2, "W")
        assert values(body, b"CCC", layouts=layouts)["1-0:1.7.0.255"] == Reading(2, "W")
        assert refused(body, b"DDD", layouts=layouts).reason == "an element has no OBIS code"


def test_two_layouts_of_one_maker_and_size_are_told_apart_by_their_types() -> None:
    first = Layout.parse("first", "AAA", "1-0:1.7.0 u32 W\n1-0:2.7.0 u32 W")
    second = Layout.parse("second", "AAA", "1-0:1.8.0 u32 Wh\n1-0:32.7.0 u16 V")
    found = values(structure(u32(1), u16(2)), b"AAA", layouts=[first, second])
    assert list(found) == ["1-0:1.8.0.255", "1-0:32.7.0.255"]


def test_a_layout_without_makers_is_for_all() -> None:
    layout = Layout.parse("all", "", "1-0:1.7.0 u32 W")
    assert values(structure(u32(1)), b"XYZ", layouts=[layout]) == {"1-0:1.7.0.255": Reading(1, "W")}


def test_a_layout_that_does_not_fit_leaves_lists_that_name_their_objects() -> None:
    named = structure(obis("1-0:1.7.0.255"), u32(1), scaler_unit(0, Unit.W))
    layout = Layout.parse("three", "", "clock\n1-0:1.7.0 u32 W\n1-0:2.7.0 u32 W")
    assert values(named, layouts=[layout]) == {"1-0:1.7.0.255": Reading(1, "W")}


def test_a_prescribed_layout_is_the_only_one() -> None:
    layout = Layout.parse("mine", "AAA", "1-0:1.7.0 u32 W\n1-0:2.7.0 u32 W")
    # Whoever the maker is.
    assert list(values(structure(u32(1), u32(2)), b"XYZ", prescribed=layout)) == [
        "1-0:1.7.0.255",
        "1-0:2.7.0.255",
    ]
    fault = refused(NINE, b"ISK", prescribed=layout)
    assert fault.reason == "the push is no structure of 2, as layout mine says"
    assert fault.offset == 0


def test_a_fault_of_a_prescribed_layout_points_at_the_first_element_that_differs() -> None:
    table = "obis 0-6:25.9.0\nnumber\n1-0:1.7.0 u32 W\n- octets\n1-0:2.7.0 u32 W"
    layout = Layout.parse("mine", "", table)
    good = [obis("0-6:25.9.0.255"), octet_string(b"123"), u32(1), octet_string(b"x"), u32(2)]
    assert list(values(structure(*good), prescribed=layout)) == [
        "0-0:96.1.0.255", "1-0:1.7.0.255", "1-0:2.7.0.255",
    ]  # fmt: skip
    differing = "element {} is not as layout mine says"
    for place, wrong, reason in (
        (0, u32(1), differing),
        (0, octet_string(b"12345"), differing),
        (0, obis("0-6:25.9.1.255"), "element {} is not the OBIS code that layout mine names"),
        (1, b"\x0a\x03123", differing),
        (2, u16(1), differing),
        (2, b"\x00", differing),
        (3, u32(1), differing),
        (4, b"\x05\x00\x00\x00\x01", differing),
        (4, structure(u32(1)), differing),
    ):
        items = [*good[:place], wrong, *good[place + 1 :]]
        fault = refused(structure(*items), prescribed=layout)
        assert fault.reason == reason.format(place + 1)
        assert fault.offset == 2 + sum(map(len, items[:place]))
    assert isinstance(listing(b"\x01\x05" + b"".join(good), prescribed=layout), Fault)


def test_a_decoder_reads_a_meter_of_an_unknown_maker_by_the_layout_prescribed_to_it() -> None:
    push = SimulatedMeter("lg-e450-burgenland", KEY, seed=7, start=MOMENT).push()
    keys = Key(KEY), Key(SIMULATED_AUTH_KEY)
    mine = Layout.parse(
        "mine",
        "",
        "\n".join(["- u16"] * 6 + ["- u32"] * 2)
        + """
        1-0:1.8.0 u32 Wh
        1-0:2.8.0 u32 Wh
        - u16
        - u16
        - u16
        number""",
    )
    for decoder in (
        Decoder(*keys, layout=mine),
        Decoder(*keys, layouts=[mine]),
    ):
        (telegram,) = decoder.feed(push.telegram, 0.0)
        assert isinstance(telegram, Telegram)
        assert {str(code): (r.value, r.unit) for code, r in telegram.readings.items()} == {
            code: push.readings[code]
            for code in ("1-0:1.8.0.255", "1-0:2.8.0.255", "0-0:96.1.0.255")
        }
    (fault,) = Decoder(*keys, layout=ROWS["wels-10"]).feed(push.telegram, 0.0)
    assert isinstance(fault, Fault)
    assert "wels-10" in fault.reason
    assert fault.meter == push.system_title


# --- the grammar ----------------------------------------------------------------------------


def items(table: str) -> list[Item]:
    return list(Layout.parse("x", "", table).items)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("clock", [Item(0x090C, CLOCK)]),
        ("time", [Item(0x0904, LOCAL_TIME)]),
        ("date", [Item(0x0905, LOCAL_DATE)]),
        ("number", [Item(0x0900, METER_NUMBER)]),
        ("1-0:1.8.0 u32 Wh", [Item(0x0600, Obis(1, 0, 1, 8, 0), 0, "Wh")]),
        ("1-0:1.8.0 u64 1000 Wh", [Item(0x1500, Obis(1, 0, 1, 8, 0), 3, "Wh")]),
        ("1-0:31.7.0 u16 0.01 A", [Item(0x1200, Obis(1, 0, 31, 7, 0), -2, "A")]),
        ("1-0:13.7.0 i16 0.001 -", [Item(0x1000, Obis(1, 0, 13, 7, 0), -3, None)]),
        ("1-0:14.7.0 f32 1 Hz", [Item(0x1700, Obis(1, 0, 14, 7, 0), 0, "Hz")]),
        (
            "pair 1-0:1.8.0 u32 10 Wh",
            [
                Item(0x0906, constant=bytes(Obis(1, 0, 1, 8, 0))),
                Item(0x0600, Obis(1, 0, 1, 8, 0), 1, "Wh"),
            ],
        ),
    ],
)
def test_each_line_is_an_element_of_the_list(line: str, expected: list[Item]) -> None:
    assert items(line) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("obis 0-6:25.9.0", Item(0x0906, constant=bytes(Obis(0, 6, 25, 9, 0)))),
        ("- u16", Item(0x1200)),
        ("- octets", Item(0x0900)),
    ],
)
def test_lines_that_name_no_value_stand_beside_those_that_do(line: str, expected: Item) -> None:
    assert items(f"{line}\nnumber") == [expected, Item(0x0900, METER_NUMBER)]


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("i8", "0fff"), ("u8", "11ff"), ("i16", "10ffff"), ("u16", "12ffff"),
        ("i32", "05ffffffff"), ("u32", "06ffffffff"), ("i64", "14ffffffffffffffff"),
        ("u64", "15ffffffffffffffff"), ("f32", "1743680000"), ("f64", "18406d000000000000"),
    ],
)  # fmt: skip
def test_every_type_is_that_of_a_number(name: str, raw: str) -> None:
    layout = Layout.parse("x", "", f"1-0:14.7.0 {name} -")
    assert len(values(structure(bytes.fromhex(raw)), prescribed=layout)) == 1


def test_comments_and_empty_lines_are_none_of_the_list() -> None:
    assert items("\n# a comment\n\n  number  # the meter's\n") == [Item(0x0900, METER_NUMBER)]


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ("", "layout x lists nothing"),
        ("# nothing", "layout x lists nothing"),
        ("- u16", "layout x names no value"),
        ("obis 1-0:1.8.0", "layout x names no value"),
        ("number\nnumber", "layout x: 0-0:96.1.0.255 comes twice"),
        ("clock\n1-0:1.7.0 u32 W\n1-0:1.7.0.255 u16 W", "layout x: 1-0:1.7.0.255 comes twice"),
        ("power", "layout x: 'power': 'power' is no OBIS code"),
        ("clock 12", "layout x: 'clock 12': 'clock' is no OBIS code"),
        ("obis", "layout x: 'obis': 'obis' is no OBIS code"),
        ("obis power", "layout x: 'obis power': 'power' is no OBIS code"),
        ("-", "layout x: '-': '-' is no OBIS code"),
        ("pair", "layout x: 'pair': 'pair' is no OBIS code"),
        ("pair 1-0:1.8.0", "layout x: 'pair 1-0:1.8.0': a value needs its type and unit"),
        ("1-0:1.8.0", "layout x: '1-0:1.8.0': a value needs its type and unit"),
        ("1-0:1.8.0 u32", "layout x: '1-0:1.8.0 u32': a value needs its type and unit"),
        ("1-0:1.8.0 u32 1 Wh now", "layout x: '1-0:1.8.0 u32 1 Wh now': a value needs its type"),
        ("1-0:1.8.0 u24 Wh", "layout x: '1-0:1.8.0 u24 Wh': unknown type 'u24'; there are i8, u8"),
        ("- u24", "layout x: '- u24': unknown type 'u24'"),
        ("1-0:1.8.0 octets Wh", "layout x: '1-0:1.8.0 octets Wh': 'octets' is no number"),
        ("1-0:1.8.0 u32 kWh", "layout x: '1-0:1.8.0 u32 kWh': unknown unit 'kWh'; there are W, VA"),
        ("1-0:1.8.0 u32 W", "layout x: '1-0:1.8.0 u32 W': 1-0:1.8.0.255 is in Wh, not in W"),
        ("1-0:13.7.0 u16 W", "layout x: '1-0:13.7.0 u16 W': 1-0:13.7.0.255 is in no unit, not"),
        ("1-0:1.8.0 u32 0.5 Wh", "layout x: '1-0:1.8.0 u32 0.5 Wh': '0.5' is no step; there are 0"),
    ],
)
def test_what_is_no_layout_is_refused_with_its_line(table: str, reason: str) -> None:
    with pytest.raises(ValueError, match="layout x") as error:
        Layout.parse("x", "", table)
    assert str(error.value).startswith(reason)


WORDS_OF_TABLES = (
    *("clock", "time", "date", "number", "obis", "pair", "-", "#", "u16", "u32", "octets"),
    *("Wh", "W", "A", "0.01", "1", "1-0:1.8.0", "1-0:31.7.0", "1-0:1.7.0", "1-0:99.1.0"),
)


@given(
    table=st.lists(
        st.lists(st.sampled_from(WORDS_OF_TABLES), max_size=5).map(" ".join), max_size=5
    ).map("\n".join)
)
def test_any_table_is_a_layout_or_a_value_error(table: str) -> None:
    try:
        layout = Layout.parse("x", "AAA", table)
    except ValueError:
        return
    assert layout.makers == ("AAA",)
    assert any(item.obis for item in layout.items)


def test_a_text_is_no_number_in_a_table_either() -> None:
    for text in ("0-0:1.0.0", "0-0:96.1.0", "0-0:42.0.0", "1-0:0.9.1", "1-0:0.9.2"):
        with pytest.raises(ValueError, match=text):
            Layout.parse("x", "", f"{text} u32 -")


# --- any body -------------------------------------------------------------------------------

elements = st.one_of(
    st.sampled_from([CLOCK_OCTETS, u32(5), u16(5), b"\x00", octet_string(b"1"), octet_string(b"")]),
    st.sampled_from(["0-6:25.9.0.255", "1-0:1.8.0.255", "1-0:1.7.0.255"]).map(obis),
    st.binary(max_size=14).map(octet_string),
    st.just(structure(u32(5))),
)


@given(
    items=st.lists(elements, max_size=16),
    maker=st.sampled_from([b"ISK", b"LGZ", b"SMS", b"KFM"]),
    prescribed=st.sampled_from([None, *LAYOUTS]),
)
def test_any_body_gives_values_or_a_fault_within_it(
    items: list[bytes], maker: bytes, prescribed: Layout | None
) -> None:
    body = structure(*items)
    found = listing(body, maker, prescribed=prescribed)
    if isinstance(found, Fault):
        assert 0 <= found.offset < len(body)
    else:
        readings = found.read(body)
        assert not isinstance(readings, Fault) or 0 <= readings.offset < len(body)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
@given(data=st.data())
def test_whatever_stands_in_a_layout_is_read_where_it_stands(
    layout: Layout, data: st.DataObject
) -> None:
    encoded, expected = [], {}
    for item in layout.items:
        if item.constant is not None:
            encoded.append(octet_string(item.constant))
        elif item.kind in (0x0600, 0x1200):
            size = 4 if item.kind == 0x0600 else 2
            raw = data.draw(st.integers(0, 256**size - 1))
            encoded.append(bytes([item.kind >> 8]) + raw.to_bytes(size, "big"))
            if item.obis:
                value = raw / 10**-item.scaler if item.scaler else raw
                expected[item.obis] = Reading(value, item.unit)
        elif item.obis == CLOCK:
            encoded.append(CLOCK_OCTETS)
            expected[CLOCK] = Reading(MOMENT, None, 0x80)
        elif item.obis in (LOCAL_TIME, LOCAL_DATE):
            octets, text = (
                ("13010e00", "19:01:14")
                if item.obis == LOCAL_TIME
                else ("07e5031904", "2021-03-25")
            )
            encoded.append(octet_string(bytes.fromhex(octets)))
            expected[item.obis] = Reading(text)
        else:
            text = data.draw(st.text("0123456789ABC", max_size=20))
            encoded.append(octet_string(text.encode()))
            if item.obis and text:
                expected[item.obis] = Reading(text)
    body = structure(*encoded)
    readings = values(body, (layout.makers[0]).encode())
    assert readings == {str(code): reading for code, reading in expected.items()}


# --- objects with names, without an outline --------------------------------------------------

# The bodies of all models, with where their lists start.
BODIES = [
    (push.system_title, plaintext[:start], plaintext[start:])
    for model in MODELS
    for push in [SimulatedMeter(model, KEY, seed=7, start=MOMENT).push()]
    for plaintext in [plaintext_of(push)]
    for header in [notification.header(plaintext)]
    if isinstance(header, notification.Header)
    for start in [header.body_start]
]
ODD_ELEMENTS = (
    b"\x00", b"\x02\x00", b"\x02\x02", b"\x02\x03", b"\x01\x01", b"\x03\x01", b"\x04", b"\x09\x80",
    b"\x0a\x00", b"\x0f\x00", b"\x10\xff\xff", b"\x16\x1b", b"\x17\x7f\xc0\x00\x00", CLOCK_OCTETS,
    b"\x19" + CLOCK_OCTETS[2:], scaler_unit(0, Unit.W), u32(5) + scaler_unit(-3, Unit.WH),
    *map(obis, ("1-0:1.7.0.255", "1-1:1.7.0.255", "0-0:96.1.0.255", "1-0:99.99.0.255")),
)  # fmt: skip


@st.composite
def damaged_bodies(draw: st.DrawFn) -> tuple[bytes, bytes, bytes]:
    """Return system title, header and body of a push; some of the body's elements differ."""
    title, before, body = draw(st.sampled_from(BODIES))
    head, *elements = (body[start:end] for start, end in pairwise(outlined(body).starts))
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(elements)))
        other = draw(st.sampled_from((*ODD_ELEMENTS, *elements)))
        end = place + draw(st.integers(0, 3))
        elements[place:end] = draw(st.sampled_from(([], [other], [other, other])))
    if draw(st.booleans()):
        head = head[:1] + bytes([draw(st.integers(0, 40))])
    return title, before, head + b"".join(elements)


def objects_of(outline: axdr.Outline) -> list[tuple[bytes, int, bool]] | None:
    """Walk a nested or flat list element by element: (code, index of the value, is measured)."""
    kinds, index = outline.kinds(), 1
    objects: list[tuple[bytes, int, bool]] = []
    while index < len(kinds):
        is_nested = kinds[index] in (0x0202, 0x0203) and kinds[index + 1 : index + 2] == [0x0906]
        value = index + is_nested + 1
        if kinds[value - 1] == 0x0906 and value < len(kinds):
            measured = kinds[value + 1 : value + 4] == [0x0202, 0x0F00, 0x1600]
            if is_nested and measured != (kinds[index] == 0x0203):
                return None
            objects.append((outline.content(value - 1), value, measured))
            index = value + (4 if measured else 1)
        elif index == 1 and kinds[index] == 0x090C:
            objects.append((bytes(CLOCK), index, False))
            index += 1
        elif 1 < index == len(kinds) - 1 and kinds[index] >> 8 in axdr.STRINGS:
            objects.append((bytes(METER_NUMBER), index, False))
            index += 1
        else:
            return None
    return objects


POSITIONAL = by_count(LAYOUTS)


@given(pushed=damaged_bodies())
def test_what_is_read_without_an_outline_has_one_and_is_the_same_with_it(
    pushed: tuple[bytes, bytes, bytes],
) -> None:
    title, before, body = pushed
    at_once = recognise_objects(before + body, len(before), title, POSITIONAL)
    outline = axdr.outline(before + body, len(before))
    if isinstance(outline, Fault):
        assert at_once is None
        return
    found = recognise(outline, title)
    if at_once is None:
        maker_rows = [row for row in POSITIONAL.get(body[1], []) if row.is_for(title)]
        assert isinstance(found, Fault) or found.name != "named" or maker_rows
        return
    assert isinstance(found, Listing)
    at_once, numbers = at_once
    again = found.read(before + body)
    assert isinstance(again, Fault) or list(numbers) == list(again.raw)
    assert (at_once.name, at_once.entries) == (found.name, found.entries)
    objects = objects_of(outline)
    assert objects
    assert [tuple(entry[:4]) for entry in at_once.entries] == [
        (tuple(code), outline.kind(value), outline.starts[value], outline.starts[value + 1])
        for code, value, _ in objects
        if outline.kind(value)
    ]
    assert [(entry.scaler, entry.unit) for entry in at_once.entries if entry.is_number] == [
        (outline.number(value + 2), named.UNITS[int(outline.number(value + 3))])
        for _, value, measured in objects
        if outline.kind(value) and measured
    ]


@given(pushed=damaged_bodies())
def test_known_objects_are_judged_as_all_others(pushed: tuple[bytes, bytes, bytes]) -> None:
    _, before, body = pushed
    known = named.objects(before + body, len(before))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(named, "_NAMES", {})
        others = named.objects(before + body, len(before))
    if isinstance(known, tuple) and isinstance(others, tuple):
        assert known[0].entries == others[0].entries
        assert repr(known[1]) == repr(others[1])  # as text: NaN is not equal to itself
    else:
        assert known == others


def test_a_list_of_more_elements_than_one_byte_tells_is_refused_also_without_an_outline() -> None:
    # 43 objects of three elements each: 129, which a head of 02 81 would have to write as 02 81 81.
    triples = b"".join(
        bytes((0x09, 0x06, 1, 0, 200, number, 0, 255)) + b"\x06\0\0\0\1\x02\x02\x0f\0\x16\xff"
        for number in range(43)
    )
    body = bytes((axdr.STRUCTURE, 129)) + triples
    assert recognise_objects(body, 0, b"KFM12345", POSITIONAL) is None
    assert isinstance(axdr.outline(body, 0), Fault)
    shorter = bytes((axdr.STRUCTURE, 126)) + triples[: 42 * 19]
    assert recognise_objects(shorter, 0, b"KFM12345", POSITIONAL)
