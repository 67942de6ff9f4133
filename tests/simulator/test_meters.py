"""The simulated meters: what a push is, byte counts, clock and identity."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.simulator import MODELS, SIMULATED_AUTH_KEY, House, SimulatedMeter

KEY = bytes(range(16))
AUTH_KEY = bytes(range(0xD0, 0xE0))
START = datetime(2024, 7, 1, 10, 0, 0, tzinfo=UTC)

KSMWEST_ONE_PHASE = [
    ("0-0:1.0.0.255", None),
    ("0-0:96.1.0.255", None),
    ("0-0:42.0.0.255", None),
    ("1-0:32.7.0.255", "V"),
    ("1-0:31.7.0.255", "A"),
    ("1-0:1.7.0.255", "W"),
    ("1-0:2.7.0.255", "W"),
    ("1-0:1.8.0.255", "Wh"),
    ("1-0:2.8.0.255", "Wh"),
    ("1-0:3.8.0.255", "varh"),
    ("1-0:4.8.0.255", "varh"),
]


def meter(model: str = "kaifa-ma309m", *, seed: int = 7, start: datetime = START) -> SimulatedMeter:
    return SimulatedMeter(model, KEY, seed=seed, start=start)


@pytest.mark.parametrize(
    ("model", "size"), [("kaifa-ma309m", 376), ("kaifa-ma110m", 300), ("honeywell", 376)]
)
@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32 - 1))
def test_telegram_has_the_length_of_a_real_one(model: str, size: int, seed: int) -> None:
    assert len(meter(model, seed=seed).push().telegram) == size
    sealed = SimulatedMeter(model, KEY, auth_key=AUTH_KEY, seed=seed, start=START)
    assert len(sealed.push().telegram) == size + 12


@pytest.mark.parametrize(
    ("model", "second"), [("kaifa-ma309m", 0x72), ("kaifa-ma110m", 0x26), ("honeywell", 0x72)]
)
def test_telegram_has_two_frames_with_the_bytes_of_a_real_one(model: str, second: int) -> None:
    push = meter(model).push()
    first_frame, second_frame = push.telegram[:256], push.telegram[256:]
    assert first_frame[:11] == bytes.fromhex("68fafa6853ff000167db08")
    assert first_frame[11:19] == push.system_title
    assert second_frame[:9] == bytes([0x68, second, second, 0x68, 0x53, 0xFF, 0x11, 0x01, 0x67])
    assert first_frame[-1] == second_frame[-1] == 0x16


@pytest.mark.parametrize("model", MODELS)
def test_same_seed_same_telegrams(model: str) -> None:
    one, other = meter(model), meter(model)
    assert [one.push() for _ in range(20)] == [other.push() for _ in range(20)]


def test_without_a_seed_every_meter_is_another() -> None:
    seeds = {SimulatedMeter("kaifa-ma309m", KEY, start=START).seed for _ in range(4)}
    assert len(seeds) > 1


@pytest.mark.parametrize(
    ("model", "number", "device", "title"),
    [
        ("kaifa-ma309m", "1KFM02", "KFM12002", "4b464d102"),
        ("kaifa-ma110m", "1KFM01", "KFM11001", "4b464d101"),
        ("honeywell", "1ELS02", "ELS12002", "454c53657"),
    ],
)
@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32 - 1))
def test_system_title_and_names_agree_about_the_serial_number(
    model: str, number: str, device: str, title: str, seed: int
) -> None:
    push = meter(model, seed=seed).push()
    meter_number, device_name = (
        push.readings["0-0:96.1.0.255"][0],
        push.readings["0-0:42.0.0.255"][0],
    )
    serial = int.from_bytes(push.system_title, "big") & 0xFFF_FFFF
    assert push.system_title.hex()[:9] == title
    assert meter_number == f"{number}{serial:08d}"
    assert device_name == f"{device}{serial:08d}"


def test_one_phase_meter_sends_the_objects_of_the_real_one() -> None:
    readings = meter("kaifa-ma110m").push().readings
    assert [(obis, unit) for obis, (_, unit) in readings.items()] == KSMWEST_ONE_PHASE


@pytest.mark.parametrize("model", ["kaifa-ma309m", "honeywell"])
def test_three_phase_meter_sends_voltages_then_currents_of_each_phase(model: str) -> None:
    codes = list(meter(model).push().readings)
    assert codes[3:9] == [f"1-0:{c}.7.0.255" for c in (32, 52, 72, 31, 51, 71)]
    assert codes[:3] + codes[9:] == [
        code for code, unit in KSMWEST_ONE_PHASE if unit not in ("V", "A")
    ]


def test_readings_are_what_the_house_is() -> None:
    seed = 99
    simulated, house = meter(seed=seed), House(3, seed, START)
    for step_s in (0, 5, 5, 5):
        readings, state = simulated.push().readings, house.advance(step_s)
        assert readings["1-0:52.7.0.255"] == (state.phases[1].voltage_v, "V")
        assert readings["1-0:71.7.0.255"] == (state.phases[2].current_a, "A")
        assert readings["1-0:1.7.0.255"] == (state.active_power_import_w, "W")
        assert readings["1-0:2.8.0.255"] == (state.energy_active_export_wh, "Wh")
        assert readings["1-0:4.8.0.255"] == (state.energy_reactive_export_varh, "varh")


def test_counter_and_clock_move_by_one_and_by_the_interval() -> None:
    simulated = SimulatedMeter("kaifa-ma309m", KEY, seed=1, start=START, interval_s=10)
    pushes = [simulated.push() for _ in range(5)]
    first = pushes[0].invocation_counter
    assert [push.invocation_counter for push in pushes] == list(range(first, first + 5))
    assert [push.clock for push in pushes] == [START + timedelta(seconds=10 * n) for n in range(5)]
    assert len({push.telegram for push in pushes}) == 5


@pytest.mark.parametrize(
    ("start", "hours"),
    [
        (datetime(2024, 3, 31, 0, 59, 55, tzinfo=UTC), [1, 2]),
        (datetime(2024, 10, 27, 0, 59, 55, tzinfo=UTC), [2, 1]),
    ],
)
def test_clock_changes_between_winter_and_summer_time_without_a_jump_in_utc(
    start: datetime, hours: list[int]
) -> None:
    simulated = meter(start=start)
    before, after = simulated.push().clock, simulated.push().clock
    assert [clock.utcoffset() for clock in (before, after)] == [timedelta(hours=h) for h in hours]
    assert after - before == timedelta(seconds=5)


def test_clock_says_whole_seconds() -> None:
    push = meter(start=START.replace(microsecond=987654)).push()
    assert push.clock == START
    assert push.readings["0-0:1.0.0.255"] == (START, None)


def test_security_is_told() -> None:
    assert meter().push().security == "encrypted"
    sealed = SimulatedMeter("kaifa-ma309m", KEY, auth_key=AUTH_KEY, seed=7, start=START)
    assert sealed.push().security == "authenticated"


def test_a_model_that_authenticates_does_so_without_being_given_a_key() -> None:
    assert meter("lg-e450-gbt").push().security == "authenticated"
    given = SimulatedMeter("lg-e450-gbt", KEY, auth_key=SIMULATED_AUTH_KEY, seed=7, start=START)
    assert meter("lg-e450-gbt").push() == given.push()


def test_tariffs_sum_to_the_counter() -> None:
    readings = meter("lg-e450-gbt").push().readings
    for group in (1, 2, 3, 4):
        total, first, second = (readings[f"1-0:{group}.8.{tariff}.255"][0] for tariff in range(3))
        assert isinstance(first, int)
        assert isinstance(second, int)
        assert first + second == total


@pytest.mark.parametrize("model", MODELS)
def test_a_model_knows_its_pace(model: str) -> None:
    assert MODELS[model].interval_s == (1 if model.endswith("wienernetze") else 5)


@pytest.mark.parametrize(
    ("model", "title", "number"),
    [
        ("kaifa-ma309-netznoe", "4b464d675", "1812"),
        ("sagemcom-t210d-2020", "534147590", "1782"),
        ("siemens-im350-wienernetze", "534d53677", "SMS10307"),
        ("iskra-am550-kaernten", "49534b697", "22212"),
        ("siemens-im350-wels", "534d53677", ""),
        ("lg-e450-burgenland", "4c475a677", ""),
    ],
)
def test_number_ends_with_the_serial_number_of_the_title(
    model: str, title: str, number: str
) -> None:
    push = meter(model).push()
    serial = int.from_bytes(push.system_title, "big") & 0xFFF_FFFF
    assert push.system_title.hex()[:9] == title
    assert push.readings["0-0:96.1.0.255"] == (f"{number}{serial:08d}", None)


@pytest.mark.parametrize("size", [0, 15, 24, 32])
def test_a_key_of_the_wrong_length_is_refused_and_not_shown(size: int) -> None:
    bad = b"K" * size
    with pytest.raises(ValueError, match=f"^key has {size} bytes, a key has 16$"):
        SimulatedMeter("kaifa-ma309m", bad, start=START)
    with pytest.raises(ValueError, match=f"^auth_key has {size} bytes, a key has 16$"):
        SimulatedMeter("kaifa-ma309m", KEY, auth_key=bad, start=START)


def test_an_unknown_model_is_refused_with_the_names_of_the_known() -> None:
    with pytest.raises(ValueError, match="kaifa-ma309m, kaifa-ma110m, honeywell"):
        SimulatedMeter("kaifa", KEY, start=START)


@pytest.mark.parametrize("interval_s", [0.0, -5.0, float("nan"), float("inf")])
def test_an_interval_that_leads_nowhere_is_refused(interval_s: float) -> None:
    with pytest.raises(ValueError, match="does not push"):
        SimulatedMeter("kaifa-ma309m", KEY, start=START, interval_s=interval_s)
