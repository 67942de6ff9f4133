"""The ladder from the meter to the client: which rung is good, which is the first broken one. Pure.

    device → open → bytes → parity → frames → checksums → segments → decryption → layout
    → counter → plausible → fresh → reachable → asked → values

Evidence in, a finding for each rung out. A rung is good, broken or not known yet; what stands
behind the first broken one of a meter is not known.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple

from gateway.diagnoses import CAUSES, DIAGNOSES, filled, recognised
from gateway.health import Trouble
from gateway.snapshot.freshness import State as Fresh
from gateway.telegram import Layer
from gateway.telegram.anatomy.names import Text
from gateway.telegram.anatomy.texts import LAYERS, QUOTED

NEEDED_TELEGRAMS = 2  # a counter rises from one to the next
RECENT_S = 300.0  # a client that asked in vain longer ago has given up, or was set right


class Rung(StrEnum):
    """The rungs, from the meter to the client."""

    DEVICE = "device"
    OPEN = "open"
    BYTES = "bytes"
    PARITY = "parity"
    FRAMES = "frames"
    CHECKSUMS = "checksums"
    SEGMENTS = "segments"
    DECRYPTION = "decryption"
    LAYOUT = "layout"
    COUNTER = "counter"
    PLAUSIBLE = "plausible"
    FRESH = "fresh"
    REACHABLE = "reachable"
    ASKED = "asked"
    VALUES = "values"


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
        return self.trouble is not None and recognised(self.trouble).name == "ended"


@dataclass(frozen=True, slots=True)
class ClientEvidence:
    """What one client asked of one unit. `is_meter` tells whether the unit shows this meter."""

    address: str
    unit: int
    requests: int
    exceptions: Mapping[int, int]
    idle_s: float
    is_meter: bool

    @property
    def got_values(self) -> bool:
        """Tell whether it was answered with registers at least once."""
        return self.requests > sum(self.exceptions.values())


@dataclass(frozen=True, slots=True)
class ListenerEvidence:
    """What shows of one listener that has a unit for the meter.

    `endpoint` is written host:port. `is_local`: it is open on this machine only. `is_closed`:
    `allow` lets nobody in but this machine. `refusal` is why it did not answer from here, "" if it
    did, None if that could not be tried: `untried` says why. `units` are the ids that it serves,
    `poll` is how to try it from another machine.
    """

    endpoint: str
    is_line: bool = False
    is_absent: bool = False
    is_local: bool = False
    is_closed: bool = False
    refusal: str | None = None
    untried: Text | None = None
    units: Sequence[str] = ()
    clients: Sequence[ClientEvidence] = ()
    poll: str = ""


# rung → what it is called when it holds
NAMES: Mapping[Rung, Text] = MappingProxyType(
    {
        Rung.DEVICE: Text("the device is there", "das Gerät ist da"),
        Rung.OPEN: Text("it may be opened", "es lässt sich öffnen"),
        Rung.BYTES: Text("bytes arrive", "Bytes kommen an"),
        Rung.PARITY: Text("their parity is good", "ihre Parität stimmt"),
        Rung.FRAMES: Text("they are frames", "sie sind Rahmen"),
        Rung.CHECKSUMS: Text("the checksums are good", "die Prüfsummen stimmen"),
        Rung.SEGMENTS: Text("the segments are complete", "die Segmente sind vollständig"),
        Rung.DECRYPTION: Text("the telegrams decrypt", "die Telegramme lassen sich entschlüsseln"),
        Rung.LAYOUT: Text("their layout is known", "ihr Aufbau ist bekannt"),
        Rung.COUNTER: Text("the counter rises", "der Zähler der Telegramme steigt"),
        Rung.PLAUSIBLE: Text("the values are plausible", "die Werte sind plausibel"),
        Rung.FRESH: Text("the values are fresh", "die Werte sind frisch"),
        Rung.REACHABLE: Text(
            "the network reaches the listener", "das Netz erreicht den Modbus-Anschluss"
        ),
        Rung.ASKED: Text("a client has asked", "ein Client hat gefragt"),
        Rung.VALUES: Text("it got values", "er hat Werte bekommen"),
    }
)

# What the ladder says itself. The name's first part is the rung that it breaks.
BREAKS: Mapping[str, Text] = MappingProxyType(
    {
        "frames.cut": Text(
            "frames begin, but they do not end as they should ({reason}): bytes are lost on the "
            "way; check the wires, the adapter's supply, and that no other program reads the port",
            "Rahmen beginnen, enden aber nicht, wie sie sollen („{reason}“): Bytes gehen unterwegs "
            "verloren; prüfe die Drähte, die Versorgung des Adapters, und dass kein anderes "
            "Programm den Anschluss liest",
        ),
        "checksums.bad": Text(
            "frames come, but their checksums are wrong ({reason}): bytes are changed on the way; "
            "check the parity (M-Bus: ?parity=even), the wires and the adapter's supply",
            "Rahmen kommen, aber ihre Prüfsummen sind falsch („{reason}“): Bytes werden unterwegs "
            "verändert; prüfe die Parität (M-Bus: ?parity=even), die Drähte und die Versorgung "
            "des Adapters",
        ),
        "segments.missing": Text(
            "good frames come, but not all of a telegram ({reason}): frames are lost on the way; "
            "check the wires and the adapter's supply, and that no other program reads the port",
            "gute Rahmen kommen, aber nicht alle eines Telegramms („{reason}“): Rahmen gehen "
            "unterwegs verloren; prüfe die Drähte und die Versorgung des Adapters, und dass kein "
            "anderes Programm den Anschluss liest",
        ),
        "decryption.refused": Text(
            "the last telegram does not decrypt ({reason}): compare the key with the operator's "
            "letter, character by character",
            "das letzte Telegramm lässt sich nicht entschlüsseln („{reason}“): vergleiche den "
            "Schlüssel mit dem Brief des Netzbetreibers, Zeichen für Zeichen",
        ),
        "layout.refused": Text(
            "the last telegram decrypts, but it is not understood ({reason}): please send us what "
            "`obisgate explain --redact` prints of it",
            "das letzte Telegramm lässt sich entschlüsseln, wird aber nicht verstanden "
            "(„{reason}“): bitte sende uns, was `obisgate explain --redact` davon zeigt",
        ),
        "counter.old": Text(
            "telegrams come, but their invocation counter does not rise ({reason}): old telegrams "
            "are sent again; read the meter itself, not a recording or a repeater of it",
            "Telegramme kommen, aber ihr Zähler (invocation counter) steigt nicht („{reason}“): "
            "alte Telegramme werden noch einmal gesendet; lies den Zähler selbst, keine Aufnahme "
            "und keinen Verstärker davon",
        ),
        "counter.other": Text(
            "telegrams of several meters come ({reason}): let the line carry those of one meter",
            "Telegramme mehrerer Zähler kommen („{reason}“): lass nur einen Zähler an die Leitung",
        ),
        "plausible.refused": Text(
            "the values cannot be, or not follow each other ({reason}): compare them with the "
            "meter's display, and `connection` in the config with the main fuse",
            "die Werte können nicht sein, oder nicht aufeinander folgen („{reason}“): vergleiche "
            "sie mit der Anzeige des Zählers, und `connection` in der Konfiguration mit der "
            "Hauptsicherung",
        ),
        "fresh.stale": Text(
            "the last good telegram came {age} s ago, and may be served for {hold} s: if the meter "
            "pushes less often, make `hold` three times the pause between two pushes",
            "das letzte gute Telegramm kam vor {age} s und darf {hold} s lang gezeigt werden: wenn "
            "der Zähler seltener sendet, setze `hold` auf das Dreifache der Pause zwischen zwei "
            "Sendungen",
        ),
        "fresh.ended": Text(
            "the source is at its end ({source}), and its values are stale: name a source that goes "
            "on, such as serial:/dev/serial/by-id/…",
            "die Quelle ist zu Ende ({source}), und ihre Werte sind veraltet: nenne eine, die "
            "weitergeht, etwa serial:/dev/serial/by-id/…",
        ),
        "reachable.none": Text(
            "no gateway is running: {command}", "es läuft kein Gateway: {command}"
        ),
        "reachable.unserved": Text(
            "no listener has a unit for this meter: write one below `listeners` in the config, "
            "such as units: {{1: {{meter: {meter}, map: sunspec_213}}}}",
            "kein Modbus-Anschluss zeigt diesen Zähler: schreib einen unter `listeners` in die "
            "Konfiguration, etwa units: {{1: {{meter: {meter}, map: sunspec_213}}}}",
        ),
        "reachable.absent": Text(
            "{endpoint} is no address of this machine now: hostname -I lists those that it has",
            "{endpoint} ist derzeit keine Adresse dieser Maschine: hostname -I zeigt, welche sie "
            "hat",
        ),
        "reachable.local": Text(
            "{endpoint} is open on this machine only: for other devices write 0.0.0.0 in place of "
            "its address in the config",
            "{endpoint} ist nur auf dieser Maschine offen: für andere Geräte schreib 0.0.0.0 "
            "anstelle der Adresse in die Konfiguration",
        ),
        "reachable.closed": Text(
            "{endpoint}: 'allow' lets this machine alone in: add the network of the device that "
            "is to ask, such as 192.168.1.0/24",
            "{endpoint}: 'allow' lässt nur diese Maschine herein: füge das Netz des Geräts an, das "
            "fragen soll, etwa 192.168.1.0/24",
        ),
        "reachable.deaf": Text(
            "{endpoint} does not answer a Modbus read from this machine ({reason}): look into the "
            "gateway's log",
            "{endpoint} antwortet auf keine Modbus-Anfrage von dieser Maschine („{reason}“): sieh "
            "in das Log des Gateways",
        ),
        "asked.nobody": Text(
            "nobody has asked yet: give this machine's address, the port and the unit id to the "
            "inverter; a firewall cannot be seen from here, so try it from another machine:{poll}",
            "noch niemand hat gefragt: trag Adresse dieser Maschine, Port und Unit-ID im "
            "Wechselrichter ein; eine Firewall ist von hier nicht zu sehen, also versuch es von "
            "einer anderen Maschine:{poll}",
        ),
        "values.unit": Text(
            "{address} asks for unit {unit}, which is not served here: set {units} in it, or serve "
            "that unit in the config",
            "{address} fragt nach Unit {unit}, die es hier nicht gibt: stell dort {units} ein, "
            "oder nimm diese Unit in die Konfiguration auf",
        ),
        "values.address": Text(
            "{address} asks unit {unit} for addresses that no map serves (exception 0x02): another "
            "map is needed; the gateway's log names the addresses, `obisgate maps` who reads what",
            "{address} fragt Unit {unit} nach Adressen, die keine Registerkarte hat (Exception "
            "0x02): sie braucht eine andere; das Log des Gateways nennt die Adressen, `obisgate "
            "maps`, wer was liest",
        ),
        "values.count": Text(
            "{address} asks unit {unit} for too many registers at once (exception 0x03): set it to "
            "read at most 125, or choose the map that it is made for (`obisgate maps`)",
            "{address} fragt Unit {unit} nach zu vielen Registern auf einmal (Exception 0x03): "
            "stell dort höchstens 125 ein, oder wähl die Registerkarte, für die es gemacht ist "
            "(`obisgate maps`)",
        ),
        "values.function": Text(
            "{address} asks unit {unit} with a function that only reads are answered to (exception "
            "0x01): set it to function 3 or 4, and to a meter, not to an inverter",
            "{address} fragt Unit {unit} mit einer Funktion, die es hier nicht gibt (Exception "
            "0x01): stell dort Funktion 3 oder 4 ein, und einen Zähler, keinen Wechselrichter",
        ),
        "values.stale": Text(
            "{address} asked unit {unit} when there were no fresh values (exception 0x0B), and not "
            "since: restart it, or its search for a meter",
            "{address} fragte Unit {unit}, als es keine frischen Werte gab (Exception 0x0B), und "
            "seither nicht: starte es neu, oder seine Suche nach einem Zähler",
        ),
    }
)

# What `health` and the sources say breaks this rung.
RUNG_OF: Mapping[str, Rung] = MappingProxyType(
    {name: Rung(name.split(".")[0]) for name in BREAKS}
    | {name: Rung.FRAMES for name in DIAGNOSES if name.startswith("frames.")}
    | {name: Rung.PARITY for name in DIAGNOSES if name.startswith("parity.")}
    | {name: Rung.BYTES for name in DIAGNOSES if name.startswith("silent.")}
    | {name: Rung.DECRYPTION for name in DIAGNOSES if name.startswith("key.")}
    | {"foreign": Rung.SEGMENTS, "layout": Rung.LAYOUT, "ended": Rung.FRESH}
    | {name: Rung.OPEN for name in CAUSES if name.startswith("open.")}
    | {"device.absent": Rung.DEVICE, "device.gone": Rung.DEVICE, "file.absent": Rung.DEVICE}
)
# Of a diagnosis whose words are those of another version.
KINDS: Mapping[str, Rung] = MappingProxyType(
    {
        Trouble.SILENT: Rung.BYTES,
        Trouble.NO_FRAMES: Rung.FRAMES,
        Trouble.FOREIGN: Rung.SEGMENTS,
        Trouble.NO_DECRYPTION: Rung.DECRYPTION,
        Trouble.UNKNOWN_LAYOUT: Rung.LAYOUT,
    }
)
# A refusal shows that all rungs below its own are good.
REFUSALS: Mapping[str, str] = MappingProxyType(
    {
        Layer.FRAME: "frames.cut",
        Layer.SEGMENT: "segments.missing",
        Layer.CIPHERING: "decryption.refused",
        Layer.DECRYPTION: "decryption.refused",
        Layer.STRUCTURE: "layout.refused",
        Layer.LAYOUT: "layout.refused",
        Layer.IDENTITY: "counter.other",
        Layer.COUNTER: "counter.old",
        Layer.PLAUSIBILITY: "plausible.refused",
    }
)
RUNGS = tuple(Rung)
OF_METER = RUNGS[: RUNGS.index(Rung.REACHABLE)]
NOTHING = Text("", "")

_Break = tuple[Rung, Text]


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
    if listeners is None:
        said = filled(BREAKS["reachable.none"], command=command)
        found.append(Finding(Rung.REACHABLE, State.BROKEN, said))
        return found + [Finding(rung, State.UNKNOWN, NOTHING) for rung in (Rung.ASKED, Rung.VALUES)]
    return found + [*_listener_rungs(meter, listeners)]


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
    if is_over and not e.byte_count:
        return Rung.BYTES, filled(DIAGNOSES["silent.always"], seconds=f"{listened_s:g}")
    if e.state == Fresh.LIVE or (e.state == Fresh.HOLDING and not is_over):
        return None
    if e.state == Fresh.WAITING and not is_over and not e.has_ended:
        return None
    last = e.last_fault
    if last and (e.age_s is None or last.age_s <= e.age_s):
        return _refused(last)
    if e.state != Fresh.STALE:
        return None
    if e.has_ended:
        return Rung.FRESH, filled(BREAKS["fresh.ended"], source=e.source)
    age, hold = f"{e.age_s or 0.0:.0f}", f"{e.hold_s:g}"
    return Rung.FRESH, filled(BREAKS["fresh.stale"], age=age, hold=hold)


def _diagnosed(e: MeterEvidence, diagnosis: str) -> _Break:
    """Return the rung that a diagnosis breaks; what the last fault tells more is told, too."""
    name, text = recognised(diagnosis)
    last = e.last_fault
    if last and name == "frames.broken" and last.layer == Layer.FRAME:
        return _refused(last)
    if last and name == "foreign" and last.layer == Layer.SEGMENT and e.telegrams:
        # Telegrams came before: the meter speaks a language that we know.
        return _refused(last)
    if name:
        return RUNG_OF[name], text
    return KINDS.get(e.kind or "", Rung.BYTES), text


def _refused(last: LastFault) -> _Break:
    name = REFUSALS.get(last.layer, "plausible.refused")
    if name == "frames.cut" and ("checksum" in last.reason or "check sequence" in last.reason):
        name = "checksums.bad"
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
    count, damaged = e.byte_count, e.damaged_count
    match rung:
        case Rung.DEVICE:
            return Text(e.source, e.source)
        case Rung.BYTES:
            return Text(f"{count} bytes", f"{count} Bytes")
        case Rung.PARITY if damaged:
            return Text(f"{damaged} of {count} bytes damaged", f"{damaged} von {count} beschädigt")
        case Rung.CHECKSUMS if refused := e.faults.get(Layer.FRAME):
            return Text(f"{refused} refused", f"{refused} abgewiesen")
        case Rung.SEGMENTS if refused := e.faults.get(Layer.SEGMENT):
            return Text(f"{refused} refused", f"{refused} abgewiesen")
        case Rung.COUNTER if e.invocation_counter is not None:
            return Text(f"at {e.invocation_counter}", f"bei {e.invocation_counter}")
        case Rung.PLAUSIBLE if e.held:
            return Text(
                f"{e.held} held back until confirmed", f"{e.held} bis zur Bestätigung nicht gezeigt"
            )
        case Rung.FRESH if e.age_s is not None:
            return Text(
                f"{e.age_s:.1f} s old, served for {e.hold_s:g} s",
                f"{e.age_s:.1f} s alt, gezeigt {e.hold_s:g} s lang".replace(".", ","),
            )
        case _:
            return NOTHING


def _awaited(rung: Rung, e: MeterEvidence) -> Text:
    """Return what a rung waits for that is not known yet."""
    if rung is Rung.COUNTER and e.telegrams == 1:
        return Text("one telegram so far", "bisher ein Telegramm")
    if rung is Rung.FRESH and e.state == Fresh.HOLDING:
        return Text("the next telegram is overdue", "das nächste Telegramm ist überfällig")
    last = e.last_fault
    if last and rung is RUNG_OF.get(REFUSALS.get(last.layer, "")) and not e.telegrams:
        named = LAYERS.get(Layer(last.layer))
        return Text(
            f"{last.layer}: {last.reason}",
            f"{named.de if named else last.layer}: {QUOTED.de.format(last.reason)}",
        )
    return NOTHING


# --- from the listener to the client ------------------------------------------------------------


def _listener_rungs(
    meter: MeterEvidence, listeners: Sequence[ListenerEvidence]
) -> Iterator[Finding]:
    yield _reachable(meter, listeners)
    clients = [each for listener in listeners for each in listener.clients if each.requests]
    at_meter = [each for each in clients if each.is_meter]
    if at_meter or clients:
        shown = ", ".join(
            f"{each.address} (unit {each.unit})" for each in (at_meter or clients)[:5]
        )
        yield Finding(Rung.ASKED, State.GOOD, Text(shown, shown))
        yield _values(listeners)
        return
    if all(each.is_line for each in listeners) and listeners:
        line = Text(
            "who asks on a serial line is not counted",
            "an einer seriellen Leitung wird nicht gezählt, wer fragt",
        )
        yield Finding(Rung.ASKED, State.UNKNOWN, line)
    elif listeners:
        poll = next((f"\n{each.poll}" for each in listeners if each.poll), "")
        yield Finding(Rung.ASKED, State.BROKEN, filled(BREAKS["asked.nobody"], poll=poll))
    else:
        yield Finding(Rung.ASKED, State.UNKNOWN, NOTHING)
    yield Finding(Rung.VALUES, State.UNKNOWN, NOTHING)


def _reachable(meter: MeterEvidence, listeners: Sequence[ListenerEvidence]) -> Finding:
    """Return whether the network reaches a listener of the meter: the best of them counts."""
    if not listeners:
        said = filled(BREAKS["reachable.unserved"], meter=meter.name)
        return Finding(Rung.REACHABLE, State.BROKEN, said)
    found = [_reached(each) for each in listeners]
    order = (State.GOOD, State.UNKNOWN, State.BROKEN)
    return min(found, key=lambda each: order.index(each.state))


def _reached(listener: ListenerEvidence) -> Finding:
    where = Text(listener.endpoint, listener.endpoint)
    if any(each.requests for each in listener.clients) or listener.is_line:
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


def _values(listeners: Sequence[ListenerEvidence]) -> Finding:
    """Return whether all clients that asked of late got values."""
    asked = [
        (each, listener) for listener in listeners for each in listener.clients if each.requests
    ]
    good = [each for each, _ in asked if each.got_values]
    # Whoever found another unit is served; what he tried before that does not count.
    served = {each.address for each in good}
    for each, listener in asked:
        if each.address in served or (good and each.idle_s > RECENT_S):
            continue
        units = listener.units
        fields = {"address": each.address, "unit": each.unit, "units": ", ".join(units)}
        said = filled(BREAKS[_refusal_of(each, listener)], **fields)
        return Finding(Rung.VALUES, State.BROKEN, said)
    shown = ", ".join(dict.fromkeys(each.address for each in good[:5]))
    return Finding(Rung.VALUES, State.GOOD, Text(shown, shown))


def _refusal_of(client: ClientEvidence, listener: ListenerEvidence) -> str:
    """Return the words for what a client was mostly refused with."""
    if str(client.unit) not in listener.units and "any" not in listener.units:
        return "values.unit"
    code = max(client.exceptions, key=lambda each: client.exceptions[each])
    words = {1: "values.function", 2: "values.address", 3: "values.count"}
    return words.get(code, "values.stale")
