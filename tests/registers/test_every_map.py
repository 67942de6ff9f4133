"""What every shipped map promises, whichever they are."""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from fractions import Fraction
from functools import cache

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from gateway import map_library
from gateway.modbus.identification import identification, server_id
from gateway.registers import ExceptionCode, Given, Image, Register, RegisterMap, Table
from gateway.registers.given import NOTHING_GIVEN
from gateway.snapshot import QUANTITIES, Origin, Snapshot
from gateway.snapshot.derive import PHASES
from gateway.snapshot.snapshot import Values

MAPS = sorted(map_library.find(None))
every_map = pytest.mark.parametrize("name", MAPS)

Build = Callable[[Mapping[str, object]], Snapshot]
Pushed = Callable[[str], Snapshot]

TEXTS = {"meter_number": "1KFM0215916069", "device_name": "KFM1200215916069"}
MEASURED = {
    "voltage_l1": 230.1,
    "voltage_l2": 231.8,
    "voltage_l3": 229.2,
    "current_l1": 7.15,
    "current_l2": 3.3,
    "current_l3": 1.44,
    "active_power_import_total": 0,
    "active_power_export_total": 2_643,
    "reactive_power_import_total": 12,
    "reactive_power_export_total": 431,
    "energy_active_import_total": 12_345_678,
    "energy_active_export_total": 9_876_543,
    "energy_active_import_t1": 12_000_000,
    "energy_active_import_t2": 345_678,
    "energy_active_export_t1": 9_000_000,
    "energy_active_export_t2": 876_543,
    "energy_reactive_import_total": 457_012,
    "energy_reactive_export_total": 3_928_765,
    "power_factor_total": 0.987,
    "meter_clock": int(datetime(2024, 7, 1, 10, 0, 0, tzinfo=UTC).timestamp()),
}


def seen(measured: Mapping[str, int | float]) -> Snapshot:
    return Snapshot(Values(measured, TEXTS), TEXTS, 0.0, measured)


@cache
def shipped(name: str, own: Given = NOTHING_GIVEN) -> RegisterMap:
    return map_library.load(name, None, own)


def words(image: Image, register: Register, table: Table) -> bytes:
    """Read one register alone, as its map allows it, high word first."""
    found = image.read(table, register.address, register.words)
    assert isinstance(found, bytes), (register.address, found)
    if register.is_little and register.type is not None:
        return b"".join(found[at : at + 2] for at in range(len(found) - 2, -1, -2))
    return found


def raw(image: Image, register: Register, table: Table) -> int | float:
    assert register.type is not None
    return register.type.packer.unpack(words(image, register, table))[0]


def lines(served: RegisterMap) -> Iterator[tuple[Register, Table]]:
    """Every register in each of its tables."""
    for register in served.registers:
        for table in register.tables:
            yield register, table


def own_word(register: Register, word: str) -> bool:
    return any(key.text() == word for key, _ in register.line.entries())


# --- what it says of itself -----------------------------------------------------------------


@every_map
def test_a_map_says_what_it_is_who_reads_it_and_where_that_is_written(name: str) -> None:
    written = shipped(name).written
    assert written.name
    assert written.sources
    assert written.notes
    assert all(text.strip() for text in (*written.sources, *written.notes, *written.readers))
    assert len(set(written.unit_ids)) == len(written.unit_ids)


def test_no_two_maps_have_the_same_name() -> None:
    names = [shipped(name).written.name for name in MAPS]
    assert len(set(names)) == len(names)


@every_map
def test_what_a_map_answers_about_itself_fits_into_one_reply(name: str) -> None:
    written = shipped(name).written
    for reply in (
        identification(bytes((0x2B, 0x0E, 1, 0)), written.identity) if written.identity else b"",
        server_id(b"\x11", written.server_id) if written.server_id else b"",
    ):
        assert isinstance(reply, bytes)
        assert len(reply) <= 253


# --- what it serves -------------------------------------------------------------------------


@every_map
@pytest.mark.parametrize("model", ["kaifa-ma309m", "kaifa-ma110m", "honeywell"])
def test_every_register_can_be_read_for_every_meter(pushed: Pushed, name: str, model: str) -> None:
    served = shipped(name)
    image = served.render(pushed(model))
    for register, table in lines(served):
        assert len(words(image, register, table)) == 2 * register.words


@every_map
def test_what_the_meter_does_not_send_shows_what_it_shows_before_the_first_telegram(
    name: str,
) -> None:
    served = shipped(name)
    blank, empty = served.render(None), served.render(Snapshot(Values({}, {}), {}, 0.0))
    for register, table in lines(served):
        if register.quantity == "frequency" or not register.is_measured:
            continue
        if register.quantity is None and register.type is not None:
            continue  # an expression may do without what is not sent
        assert words(empty, register, table) == words(blank, register, table), register.line.where


@every_map
def test_what_is_not_sent_shows_the_types_pattern_unless_the_map_says_otherwise(name: str) -> None:
    served = shipped(name)
    image = served.render(None)
    said = [register for register in served.registers if own_word(register, "not_available")]
    for register, table in lines(served):
        if not register.is_measured or register.type is None or register in said:
            continue
        shown = words(image, register, table)
        if shown != register.type.not_available:
            same = {
                words(image, other, t)
                for other, t in lines(served)
                if other.type and other.type.name == register.type.name and other.is_measured
                and other not in said
            }  # fmt: skip
            assert same == {shown}, register.line.where  # the map's own pattern of this type


@every_map
def test_a_register_shows_its_quantity_within_its_step_or_saturates(name: str) -> None:
    served = shipped(name)
    snapshot = seen(MEASURED)
    image = served.render(snapshot)
    for register, table in lines(served):
        kind = register.type
        if kind is None or not register.is_measured or register.quantity not in snapshot.values:
            continue
        number = register.sign * snapshot.values[register.quantity].number
        wanted = number / 10.0**register.exponent
        found = raw(image, register, table)
        if kind.is_float:
            assert found == pytest.approx(wanted, rel=2**-23), register.line.where
            continue
        wanted = max(kind.lowest, min(kind.highest, wanted))
        # A phase's power may differ by a step more, so that the phases sum to the total.
        is_split = register.quantity.startswith("active_power") and register.exponent > 0
        assert abs(found - wanted) <= (1.5 if is_split else 0.5) + 1e-6, register.line.where


@every_map
# Without shrinking: a map that breaks the promise is named at once.
@settings(max_examples=25, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    total_w=st.integers(-25_000, 25_000),
    phases=st.lists(
        st.tuples(st.integers(2000, 2500), st.integers(0, 6000)), min_size=3, max_size=3
    ),
)
def test_the_phases_sum_to_the_total_in_the_steps_that_the_map_shows(
    name: str, total_w: int, phases: list[tuple[int, int]]
) -> None:
    measured = {
        "active_power_import_total": max(total_w, 0),
        "active_power_export_total": max(-total_w, 0),
    }
    for phase, (volts, amps) in zip(PHASES, phases, strict=True):
        measured |= {f"voltage_{phase}": volts / 10, f"current_{phase}": amps / 100}
    served = shipped(name)
    image = served.render(seen(measured))
    shown: dict[tuple[object, ...], Fraction] = {}
    for register, table in lines(served):
        if register.quantity and register.quantity.startswith("active_power") and register.type:
            how = (table, register.exponent, register.type.is_float, register.sign)
            shown[register.quantity, *how] = Fraction(raw(image, register, table))
    for (quantity, *how), total in shown.items():
        parts = [shown.get((f"{str(quantity)[:-5]}{phase}", *how)) for phase in PHASES]
        if str(quantity).endswith("_total") and None not in parts:
            total_shown = sum(part for part in parts if part is not None)
            if how[2]:  # floats of 24 bits
                assert float(total_shown) == pytest.approx(float(total), rel=1e-6, abs=1e-6)
            else:
                assert total_shown == total, (quantity, how)


# --- how it is read -------------------------------------------------------------------------


def values_of(served: RegisterMap, table: Table) -> list[tuple[int, int]]:
    """The (address, words) of all that can be read in a row: values, and words without one."""
    own = {r.address: r.words for r in served.registers if table in r.tables and not r.only_count}
    inside = {
        address
        for first, count in own.items()
        for address in range(first, first + count)
    }  # fmt: skip
    holes = {
        address: 1
        for first, last, _ in (served.written.filled if table in served.written.tables else [])
        for address in range(first, last + 1)
        if address not in inside
    }
    return sorted((own | holes).items())


@every_map
@pytest.mark.parametrize("table", Table)
def test_a_read_at_any_place_is_the_values_there_one_by_one(name: str, table: Table) -> None:
    served = shipped(name)
    image = served.render(seen(MEASURED))
    exact = {(r.address, r.words) for r in served.registers if r.only_count and table in r.tables}
    values = values_of(served, table)
    alone = {address: image.read(table, address, count) for address, count in values}
    for span in served.layout.spans[table]:
        inside = [value for value in values if span.first <= value[0] < span.end]
        assert sum(count for _, count in inside) == span.end - span.first
        for start in range(0, len(inside), 3):
            end = start
            length = 0
            while end < len(inside) and length + inside[end][1] <= served.written.max_read:
                length += inside[end][1]
                end += 1
            first = inside[start][0]
            taken = [address for address, _ in inside[start:end]]
            if (first, length) in exact or any(v in exact for v in inside[start:end]):
                continue
            expected = b"".join(alone[address] for address in taken)
            assert image.read(table, first, length) == expected


@every_map
def test_a_read_past_the_end_of_a_run_or_longer_than_the_map_allows_is_refused(name: str) -> None:
    served = shipped(name)
    image = served.render(None)
    most = served.written.max_read
    for table in Table:
        for span in served.layout.spans[table]:
            beyond = image.read(table, span.end - 1, 2)
            assert beyond is ExceptionCode.ILLEGAL_DATA_ADDRESS
            too_long = image.read(table, span.first, most + 1)
            assert too_long is ExceptionCode.ILLEGAL_DATA_VALUE


@every_map
def test_constants_are_answered_before_the_first_telegram(name: str) -> None:
    served = shipped(name)
    for register, table in lines(served):
        word = served.layout.locate(table, register.address, register.words)
        assert not isinstance(word, ExceptionCode)
        assert served.layout.is_measured(word, register.words) is register.is_measured


# --- with what a user gives -----------------------------------------------------------------


@every_map
@pytest.mark.parametrize(
    "own",
    [
        Given(copy=2),
        Given(serial="12345678", unit_id=7),
        Given(unit_id=247),
        Given(rated_power_w=1_000),
        Given(rated_power_w=400_000),
    ],
    ids=str,
)
def test_a_map_serves_whatever_a_user_gives(name: str, own: Given) -> None:
    served = shipped(name, own)
    assert served.layout.spans == shipped(name).layout.spans
    image = served.render(seen(MEASURED))
    for register, table in lines(served):
        assert len(words(image, register, table)) == 2 * register.words


@every_map
def test_a_map_moves_whole_with_its_base(name: str) -> None:
    here = shipped(name)
    base = here.written.base
    behind = max(span.end for table in Table for span in here.layout.spans[table])
    moved = 1000 if behind - base <= 60_000 else 0
    there = shipped(name, Given(base=moved))
    assert there.render(seen(MEASURED)).octets == here.render(seen(MEASURED)).octets
    for table in Table:
        assert [(span.first - moved, span.end - moved) for span in there.layout.spans[table]] == [
            (span.first - base, span.end - base) for span in here.layout.spans[table]
        ]
    ranges = [(first - moved, last - moved) for first, last in there.written.ignored_writes]
    assert ranges == [(first - base, last - base) for first, last in here.written.ignored_writes]


@every_map
def test_two_units_that_show_one_meter_differ_in_their_serial_numbers(name: str) -> None:
    shown = {register.shows for register in shipped(name).registers}
    if not any("${serial}" in text or "meter_serial" in text for text in shown):
        pytest.skip("this map shows no serial number")
    snapshot = seen(MEASURED)
    images = [shipped(name, Given(copy=copy)).render(snapshot).octets for copy in (1, 2, 3)]
    given_one = shipped(name, Given(serial="11223344")).render(snapshot).octets
    assert len({*images, given_one}) == 4


@every_map
def test_no_map_shows_the_operators_meter_number_where_a_serial_number_is_meant(name: str) -> None:
    for register in shipped(name).registers:
        if "${meter_number}" in register.shows:
            assert name.startswith("obis"), register.line.where


@every_map
def test_every_quantity_of_a_map_is_in_the_catalogue_with_its_unit(name: str) -> None:
    for register in shipped(name).registers:
        if register.quantity:
            quantity = QUANTITIES[register.quantity]
            assert register.unit.removeprefix("k").removeprefix("m").removeprefix("M") in (
                quantity.unit,
                "%",
            )
            assert quantity.origin is not Origin.SERVICE or not register.is_measured
