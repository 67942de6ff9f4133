"""The ladder from the meter to the client: which rung is good, which is the first broken one. Pure.

    device → open → bytes → parity → frames → checksums → segments → decryption → layout
    → counter → plausible → fresh → reachable → asked → values

Evidence in, a finding for each rung out. A rung is good, broken or not known yet; what stands
behind the first broken one of a meter is not known.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from gateway.diagnoses import DIAGNOSES, QUOTED, described, filled, recognised
from gateway.ladder_words import BREAKS, KINDS, REFUSALS, RUNG_OF, Rung
from gateway.languages import Text
from gateway.snapshot.freshness import State as Fresh
from gateway.telegram import Layer

NEEDED_TELEGRAMS = 2  # a counter rises from one to the next
IN_VAIN = 20  # refusals on end: more than a client has that only tries what else there is
RECENT_S = 300.0  # a client that asked in vain longer ago has given up, or was set right


class State(StrEnum):
    """What is known of a rung."""

    GOOD = "good"
    BROKEN = "broken"
    UNKNOWN = "not known yet"


class Finding(NamedTuple):
    """What is known of one rung; of a broken one the text says why, and the next step."""

    rung: Rung
    state: State
    text: Text


@dataclass(frozen=True, slots=True)
class LastFault:
    """The last refusal of a meter's bytes."""

    layer: str
    reason: str
    age_s: float


@dataclass(frozen=True, slots=True)
class MeterEvidence:
    """What shows of one meter, as a running gateway tells it.

    `is_open` is None where that is not known. `diagnosis` is what `health` says, `kind` its kind.
    """

    name: str
    source: str
    is_open: bool | None = None
    trouble: str | None = None
    byte_count: int = 0
    damaged_count: int = 0
    state: str = Fresh.WAITING
    age_s: float | None = None
    hold_s: float = 0.0
    telegrams: int = 0
    held: int = 0
    faults: Mapping[str, int] = field(default_factory=dict)
    last_fault: LastFault | None = None
    kind: str | None = None
    diagnosis: str | None = None
    invocation_counter: int | None = None

    @classmethod
    def of(cls, name: str, status: Mapping[str, Any]) -> "MeterEvidence":
        """Take it out of a gateway's answer; KeyError or TypeError if it is none."""
        last, diagnosis = status["last_fault"], status["diagnosis"]
        return cls(
            name=name,
            source=status["source"],
            is_open=status["open"],
            trouble=status["trouble"],
            byte_count=status["bytes"],
            damaged_count=status["damaged"],
            state=status["state"],
            age_s=status["age_s"],
            hold_s=status["hold_s"],
            telegrams=status["telegrams"],
            held=status["held"],
            faults=status["faults"],
            last_fault=LastFault(last["layer"], last["reason"], last["age_s"]) if last else None,
            kind=diagnosis["kind"] if diagnosis else None,
            diagnosis=diagnosis["text"] if diagnosis else None,
            invocation_counter=status["invocation_counter"],
        )

    @property
    def has_ended(self) -> bool:
        """Tell whether no more will come, as the source itself is at its end."""
        return self.trouble is not None and self.trouble.endswith(ENDED)


@dataclass(frozen=True, slots=True)
class ClientEvidence:
    """What one client asked of one unit.

    `exceptions` are all by code, `refused` those since the last request that was not refused.
    `is_meter` tells whether the unit shows this meter, `is_here` whether the client is on the
    gateway's own machine.
    """

    address: str
    unit: int
    requests: int
    exceptions: Mapping[int, int]
    refused: Mapping[int, int]
    idle_s: float
    is_meter: bool
    is_here: bool

    @property
    def got_values(self) -> bool:
        """Tell whether it was answered with registers, and not long since with exceptions alone."""
        was_served = self.requests > sum(self.exceptions.values())
        return was_served and sum(self.refused.values()) < IN_VAIN


@dataclass(frozen=True, slots=True)
class ListenerEvidence:
    """What shows of one listener that has a unit for the meter.

    `endpoint` is written host:port. `trouble` is why a serial line is not open. `is_local`: it is
    open on this machine only. `is_closed`: `allow` lets nobody in but this machine. `refusal` is
    why it did not answer from here, "" if it did, None if that could not be tried: `untried` says
    why. `units` are the ids that it serves, `poll` is how to try it from another machine.
    """

    endpoint: str
    is_line: bool = False
    is_absent: bool = False
    trouble: str | None = None
    is_local: bool = False
    is_closed: bool = False
    refusal: str | None = None
    untried: Text | None = None
    units: Sequence[str] = ()
    clients: Sequence[ClientEvidence] = ()
    poll: str = ""

    def serves(self, unit: int) -> bool:
        """Tell whether there is such a unit, of whichever meter."""
        return str(unit) in self.units or "any" in self.units


RUNGS = tuple(Rung)
OF_METER = RUNGS[: RUNGS.index(Rung.REACHABLE)]
NOTHING = Text("", "")
UNCOUNTED = Text(
    "who asks on a serial line is not counted",
    "wer an einer seriellen Leitung fragt, wird nicht gezählt",
)
SHOWN = 5  # clients
# How the decoder tells of what it refuses.
WRONG_SUM, WRONG_PARITY = ", computed 0x", "with a parity error"
INCOMPLETE = ("breaks off", "s before it")
ENDED = " has ended"  # how a source tells that no more will come

_Break = tuple[Rung, Text]
_Asked = tuple[ClientEvidence, ListenerEvidence]


def climb(
    meter: MeterEvidence,
    listeners: Sequence[ListenerEvidence] | None,
    command: str,
    *,
    is_over: bool = False,
    listened_s: float = 0.0,
) -> list[Finding]:
    """Return what is known of each rung, from the meter to the client.

    `listeners` is None when no gateway is running; `command` starts one. When it `is_over`, no
    more evidence will come, and what came in `listened_s` decides.
    """
    found = [*_meter_rungs(meter, is_over=is_over, listened_s=listened_s)]
    if listeners is not None:
        return [*found, *_listener_rungs(meter, listeners)]
    said = filled(BREAKS["reachable.none"], command=command)
    return [
        *found,
        Finding(Rung.REACHABLE, State.BROKEN, said),
        Finding(Rung.ASKED, State.UNKNOWN, NOTHING),
        Finding(Rung.VALUES, State.UNKNOWN, NOTHING),
    ]


def first_broken(findings: Sequence[Finding]) -> Finding | None:
    """Return the lowest broken rung."""
    return next((each for each in findings if each.state is State.BROKEN), None)


def is_decided(findings: Sequence[Finding]) -> bool:
    """Tell whether nothing more is to be learned of the meter by listening on."""
    states = [each.state for each in findings if each.rung in OF_METER]
    return State.BROKEN in states or State.UNKNOWN not in states


# --- from the device to fresh values ----------------------------------------------------------


def _meter_rungs(e: MeterEvidence, *, is_over: bool, listened_s: float) -> Iterator[Finding]:
    broken = _break(e, is_over=is_over, listened_s=listened_s)
    proven = _proven(e)
    for rung in OF_METER:
        if broken and rung is broken[0]:
            yield Finding(rung, State.BROKEN, broken[1])
        elif broken and RUNGS.index(rung) > RUNGS.index(broken[0]):
            yield Finding(rung, State.UNKNOWN, NOTHING)
        elif broken or (proven and RUNGS.index(rung) <= RUNGS.index(proven)):
            yield Finding(rung, State.GOOD, _detail(rung, e))
        else:
            yield Finding(rung, State.UNKNOWN, _awaited(rung, e))


def _break(e: MeterEvidence, *, is_over: bool, listened_s: float) -> _Break | None:
    """Return the lowest broken rung of a meter, and why; None if none is known to be."""
    if e.trouble and not e.is_open and not e.has_ended:
        name, text = recognised(e.trouble)
        return RUNG_OF[name] if name else Rung.OPEN, text
    if e.diagnosis:
        return _diagnosed(e, e.diagnosis)
    if e.has_ended and not e.byte_count:
        return Rung.BYTES, filled(BREAKS["bytes.empty"], source=described(e.source))
    if is_over and not e.byte_count:
        return Rung.BYTES, filled(DIAGNOSES["bytes.always"], seconds=f"{listened_s:g}")
    if e.state != Fresh.STALE and not is_over:
        return None
    if e.state == Fresh.LIVE and e.telegrams >= NEEDED_TELEGRAMS:
        return None
    last = e.last_fault
    if last and (e.age_s is None or last.age_s < e.age_s):
        return _refused(last)
    if e.state != Fresh.STALE:
        return None
    if e.has_ended:
        return Rung.FRESH, filled(BREAKS["fresh.ended"], source=described(e.source))
    age, hold = f"{e.age_s or 0.0:.0f}", f"{e.hold_s:g}"
    return Rung.FRESH, filled(BREAKS["fresh.stale"], age=age, hold=hold)


def _diagnosed(e: MeterEvidence, diagnosis: str) -> _Break:
    """Return the rung that a diagnosis breaks; what the last fault tells more is told, too."""
    name, text = recognised(diagnosis)
    last = e.last_fault
    if last and name == "frames.broken" and last.layer == Layer.FRAME:
        return _refused(last)
    # What is cut into segments as we know it is no foreign language.
    is_known = e.telegrams or (last and any(part in last.reason for part in INCOMPLETE))
    if last and name == "segments.foreign" and last.layer == Layer.SEGMENT and is_known:
        return _refused(last)
    if name:
        return RUNG_OF[name], text
    return KINDS.get(e.kind or "", Rung.BYTES), text


def _refused(last: LastFault) -> _Break:
    name = REFUSALS.get(last.layer, "plausible.refused")
    if name == "frames.cut" and WRONG_SUM in last.reason:
        name = "checksums.bad"
    elif name == "frames.cut" and WRONG_PARITY in last.reason:
        name = "parity.some"
    return RUNG_OF[name], filled(BREAKS[name], reason=last.reason)


def _proven(e: MeterEvidence) -> Rung | None:
    """Return the highest rung that the evidence shows to be good."""
    if e.telegrams >= NEEDED_TELEGRAMS:
        return Rung.FRESH if e.state == Fresh.LIVE else Rung.PLAUSIBLE
    if e.telegrams or e.held:
        return Rung.LAYOUT
    if e.last_fault and e.last_fault.layer in REFUSALS:
        refused = RUNG_OF[REFUSALS[e.last_fault.layer]]
        if refused is not Rung.FRAMES:
            return RUNGS[RUNGS.index(refused) - 1]
    if e.byte_count:
        return Rung.BYTES
    return Rung.OPEN if e.is_open else None


def _detail(rung: Rung, e: MeterEvidence) -> Text:
    """Return what is to be said of a good rung, in short."""
    count, damaged, counter = e.byte_count, e.damaged_count, e.invocation_counter
    match rung:
        case Rung.DEVICE:
            return described(e.source)
        case Rung.BYTES:
            return Text(f"{count} bytes", f"{count} Bytes")
        case Rung.PARITY if damaged:
            return Text(f"{damaged} of {count} bytes damaged", f"{damaged} von {count} beschädigt")
        case Rung.CHECKSUMS if refused := e.faults.get(Layer.FRAME):
            return Text(f"{refused} refused", f"{refused} abgewiesen")
        case Rung.SEGMENTS if refused := e.faults.get(Layer.SEGMENT):
            return Text(f"{refused} refused", f"{refused} abgewiesen")
        case Rung.COUNTER if counter is not None:
            return Text(f"at {counter}", f"bei {counter}")
        case Rung.PLAUSIBLE if e.held:
            return Text(f"{e.held} waited for the next", f"{e.held} warteten auf das nächste")
        case Rung.FRESH if e.age_s is not None:
            age, hold = f"{e.age_s:.1f} s", f"{e.hold_s:g} s"
            german = f"{age} alt, gezeigt {hold} lang".replace(".", ",")
            return Text(f"{age} old, served for {hold}", german)
        case _:
            return NOTHING


def _awaited(rung: Rung, e: MeterEvidence) -> Text:
    """Return why a rung is not known yet, where that can be said."""
    if rung is Rung.COUNTER and e.telegrams == 1:
        return Text("one telegram so far", "bisher ein Telegramm")
    if rung is Rung.FRESH and e.state == Fresh.HOLDING:
        return Text("the next telegram is overdue", "das nächste Telegramm ist überfällig")
    last = e.last_fault
    if last and not e.telegrams and rung is RUNG_OF.get(REFUSALS.get(last.layer, "")):
        return filled(QUOTED, said=last.reason)
    return NOTHING


# --- from the listener to the client ------------------------------------------------------------


def _listener_rungs(
    meter: MeterEvidence, listeners: Sequence[ListenerEvidence]
) -> Iterator[Finding]:
    yield _reachable(meter, listeners)
    asked = _asked(listeners)
    if asked:
        clients = [each for each, _ in asked]
        of_meter = [each for each in clients if each.is_meter] or clients
        shown = ", ".join(f"{each.address} (unit {each.unit})" for each in of_meter[:SHOWN])
        yield Finding(Rung.ASKED, State.GOOD, Text(shown, shown))
        yield _values(asked)
        return
    networked = [each for each in listeners if not each.is_line]
    if networked:
        poll = next((f":\n{each.poll}" for each in networked if each.poll), "")
        yield Finding(Rung.ASKED, State.BROKEN, filled(BREAKS["asked.nobody"], poll=poll))
    else:
        yield Finding(Rung.ASKED, State.UNKNOWN, UNCOUNTED if listeners else NOTHING)
    yield Finding(Rung.VALUES, State.UNKNOWN, NOTHING)


def _reachable(meter: MeterEvidence, listeners: Sequence[ListenerEvidence]) -> Finding:
    """Return whether the network reaches a listener of the meter: the best of them counts.

    But for a serial line that is not open: whoever asks there is not seen at any other.
    """
    if not listeners:
        said = filled(BREAKS["reachable.unserved"], meter=meter.name)
        return Finding(Rung.REACHABLE, State.BROKEN, said)
    found = [_reached(each) for each in listeners if each.trouble] or [
        _reached(each) for each in listeners
    ]
    order = (State.GOOD, State.UNKNOWN, State.BROKEN)
    return min(found, key=lambda each: order.index(each.state))


def _reached(listener: ListenerEvidence) -> Finding:
    where = Text(listener.endpoint, listener.endpoint)
    asked = [each for each in listener.clients if each.requests]
    # Who is here shows only that a listener for this machine alone is meant to be one.
    is_used = any(listener.is_local or not each.is_here for each in asked)
    if listener.trouble:
        said = filled(BREAKS["reachable.line"], reason=recognised(listener.trouble).text)
        return Finding(Rung.REACHABLE, State.BROKEN, said)
    if is_used or listener.is_line:
        return Finding(Rung.REACHABLE, State.GOOD, where)
    for is_so, name in (
        (listener.is_absent, "reachable.absent"),
        (listener.is_local, "reachable.local"),
        (listener.is_closed, "reachable.closed"),
        (listener.refusal, "reachable.deaf"),
    ):
        if is_so:
            fields = {"endpoint": listener.endpoint, "reason": listener.refusal}
            return Finding(Rung.REACHABLE, State.BROKEN, filled(BREAKS[name], **fields))
    if listener.refusal is None:
        return Finding(Rung.REACHABLE, State.UNKNOWN, listener.untried or NOTHING)
    return Finding(Rung.REACHABLE, State.GOOD, where)


def _asked(listeners: Sequence[ListenerEvidence]) -> list[_Asked]:
    """Return who asked for the meter, or for a unit that nobody has, and may mean it."""
    asked = [
        (each, listener) for listener in listeners for each in listener.clients if each.requests
    ]
    served = {each.address for each, listener in asked if _is_served(each, listener)}
    return [
        (each, listener)
        for each, listener in asked
        if each.is_meter or not (listener.serves(each.unit) or each.address in served)
    ]


def _is_served(client: ClientEvidence, listener: ListenerEvidence) -> bool:
    # What a unit gave before a reload took it away does not count.
    return listener.serves(client.unit) and client.got_values


def _values(asked: Sequence[_Asked]) -> Finding:
    """Return whether all clients that asked of late got values."""
    good = [each for each, listener in asked if _is_served(each, listener)]
    # Whoever found another unit is served; what he tried before that does not count.
    served = {each.address for each in good}
    for each, listener in asked:
        if each.address in served or (good and each.idle_s > RECENT_S):
            continue
        units = listener.units
        fields = {"address": each.address, "unit": each.unit, "units": ", ".join(units)}
        said = filled(BREAKS[_refusal_of(each, listener)], **fields)
        return Finding(Rung.VALUES, State.BROKEN, said)
    shown = ", ".join(dict.fromkeys(each.address for each in good[:SHOWN]))
    return Finding(Rung.VALUES, State.GOOD, Text(shown, shown))


def _refusal_of(client: ClientEvidence, listener: ListenerEvidence) -> str:
    """Return the words for what a client was mostly refused with."""
    if not listener.serves(client.unit):
        return "values.unit"
    refused = client.refused or client.exceptions
    code = max(refused, key=lambda each: refused[each])
    words = {1: "values.function", 2: "values.address", 3: "values.count"}
    return words.get(code, "values.stale")
