"""What the service counts of a meter, as quantities of the catalogue."""

from gateway.snapshot import QUANTITIES, Diagnostics, Freshness, Origin
from gateway.snapshot.diagnostics import FRESHNESS, STATE_CODES, freshness_numbers
from gateway.snapshot.freshness import State
from gateway.snapshot.quantities import FAULTS, SERVICE
from gateway.telegram import Fault, Layer


def known() -> Freshness:
    freshness = Freshness(15.0)
    freshness.came(95.0)
    freshness.came(100.0)
    return freshness


def test_all_quantities_of_the_service_are_told_and_no_other() -> None:
    counted = Diagnostics(invocation_counter=7).numbers(100.0)
    assert freshness_numbers(known(), 100.0).keys() == FRESHNESS
    assert FRESHNESS | counted.keys() == SERVICE
    assert not FRESHNESS & counted.keys()
    assert {QUANTITIES[name].origin for name in SERVICE} == {Origin.SERVICE}


def test_every_layer_has_its_count_and_every_state_its_code() -> None:
    assert FAULTS.keys() == set(Layer)
    assert set(FAULTS.values()) <= SERVICE
    assert STATE_CODES == {State.WAITING: 0, State.LIVE: 1, State.HOLDING: 2, State.STALE: 3}
    assert all(QUANTITIES[name].meaning for name in SERVICE)


def test_what_there_is_not_yet_is_absent() -> None:
    assert freshness_numbers(Freshness(15.0), 100.0) == {"meter_state": 0}
    assert "invocation_counter" not in Diagnostics().numbers(100.0)


def test_faults_are_counted_by_layer_and_in_all() -> None:
    diagnostics = Diagnostics()
    for layer in (Layer.FRAME, Layer.FRAME, Layer.COUNTER):
        diagnostics.bad(Fault(layer, "x", 0))
    numbers = diagnostics.numbers(0.0)
    assert (numbers["faults_frame"], numbers["faults_counter"]) == (2, 1)
    assert numbers["faults_total"] == 3


def test_uptime_counts_from_the_start_and_is_never_negative() -> None:
    assert Diagnostics(40.0).numbers(100.5)["service_uptime"] == 60.5
    assert Diagnostics(40.0).numbers(39.0)["service_uptime"] == 0.0
