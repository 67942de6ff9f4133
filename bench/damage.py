"""How much damage gets through: damaged telegrams of every meter, layer by layer.

    python bench/damage.py [--telegrams 1000000] [--seed 1]

Each damaged telegram comes behind good ones of its meter, which the judge has heard. It is sent
over a simulated line, bit by bit (start, 8 data, even parity on M-Bus, stop), received by a UART
that marks parity and framing errors, decoded and judged. What is served then is compared with what
the meter meant: a value is materially wrong if a power is more than 100 W off, an energy 100 Wh, a
current 1 A or a voltage 5 V.
"""

import argparse
import multiprocessing
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from random import Random

from measure import show_progress, table

from gateway.simulator import MODELS, SIMULATED_AUTH_KEY, SimulatedMeter
from gateway.snapshot import Judge, Snapshot
from gateway.snapshot.judge import Question
from gateway.snapshot.plausibility import Seen
from gateway.snapshot.snapshot import measured_of
from gateway.telegram import Decoder, Fault, Key, Layer, Security, Telegram, ciphering, hdlc, mbus
from gateway.telegram.frames import Frame, FrameReader
from gateway.telegram.listing import Readings
from gateway.telegram.segments import Apdu, Assembler

KEY, OTHER_KEY = bytes(range(16)), bytes(range(1, 17))
START = datetime(2026, 6, 21, 4, 0, tzinfo=UTC)
PUSHES = 400  # of each meter, over which the damage is spread
EARLIER = 5  # good telegrams that the judge hears before the damaged one
BATCH = 500
TAGGED = ("lg-e450-burgenland", "lg-e450-gbt", "lg-e570")
MATERIAL = {"power_factor": None, "power": 100, "energy": 100, "current": 1, "voltage": 5}

# Checks of the judge, as they can be left out.
CHECKS: Mapping[str, tuple[str, ...]] = {
    "identity, counter": ("same_meter", "counter_rises"),
    "objects": ("same_objects",),
    "ranges": ("ranges", "directions"),
    "P against ΣU·I": ("power_fits_currents",),
    "energy": ("energies_rise",),
    "steps, confirmed": ("steps_agree", "clock_goes_on", "clocks_agree"),
}
Damage = Callable[[Random, "Case"], tuple[bytes, set[int]]]


@dataclass(frozen=True, slots=True)
class Case:
    """A telegram to be damaged, `good` as it was meant, and those before it.

    `other_key` is the same sealed with another key; `plaintext_bytes` is how long it is inside.
    """

    telegram: bytes
    good: Telegram
    numbers: Mapping[str, int | float]
    earlier: Sequence[Telegram]
    other_key: bytes
    plaintext_bytes: int

    @property
    def is_hdlc(self) -> bool:
        """Tell HDLC from M-Bus."""
        return self.telegram[0] == hdlc.FLAG

    @property
    def bits_a_byte(self) -> int:
        """Return how many bits the line takes for a byte: 8E1 on M-Bus, 8N1 where HDLC is sent."""
        return 10 if self.is_hdlc else 11


# --- the line ---------------------------------------------------------------------------------


def line_bits(octets: bytes, bits_a_byte: int) -> list[int]:
    """Return what stands on the line for some bytes."""
    bits = []
    for octet in octets:
        data = [octet >> place & 1 for place in range(8)]
        bits += [0, *data, *([sum(data) & 1] if bits_a_byte == 11 else []), 1]
    return bits


def receive(bits: Sequence[int], bits_a_byte: int) -> tuple[bytes, list[int], int]:
    """Return the bytes that a UART reads, which of them it marks, and where in the bits it ended.

    It begins idle and ends for want of a whole byte.
    """
    octets, marked, position = bytearray(), [], 0
    while True:
        while position < len(bits) and bits[position]:
            position += 1
        end = position + bits_a_byte
        if end > len(bits):
            return bytes(octets), marked, position
        data = bits[position + 1 : position + 9]
        octets.append(sum(bit << place for place, bit in enumerate(data)))
        wrong_parity = bits_a_byte == 11 and sum(data) & 1 != bits[position + 9]
        if wrong_parity or not bits[end - 1]:
            marked.append(len(octets) - 1)
        # A stop bit that is none is taken for the start bit of the next byte.
        position = end if bits[end - 1] else end - 1


def flip(case: Case, places: Sequence[int]) -> tuple[bytes, set[int]]:
    """Flip bits on the line; return the bytes received and the indices of those marked."""
    width, octets = case.bits_a_byte, case.telegram
    first, last = min(places) // width, max(places) // width
    # The receiver is in step again a few bytes behind the damage, or at the end.
    for reach in (last + 3, last + 40, len(octets)):
        piece = octets[first : min(reach, len(octets))]
        bits = line_bits(piece, width)
        for place in places:
            bits[place - first * width] ^= 1
        received, marked, stopped = receive(bits, width)
        if stopped == len(bits) or reach >= len(octets):
            break
    rest = octets[first + len(piece) :]
    return octets[:first] + received + rest, {first + index for index in marked}


# --- the kinds of damage ----------------------------------------------------------------------


def one_bit(dice: Random, case: Case) -> tuple[bytes, set[int]]:
    """Flip one bit anywhere on the line."""
    return flip(case, [dice.randrange(len(case.telegram) * case.bits_a_byte)])


def two_bits(dice: Random, case: Case) -> tuple[bytes, set[int]]:
    """Flip two bits anywhere on the line."""
    return flip(case, dice.sample(range(len(case.telegram) * case.bits_a_byte), 2))


def burst(dice: Random, case: Case) -> tuple[bytes, set[int]]:
    """Make every bit of two to four bytes in a row random."""
    width, count = case.bits_a_byte, dice.randint(2, 4)
    start = dice.randrange(len(case.telegram) - count) * width
    places = [start + place for place in range(count * width) if dice.random() < 0.5]
    return flip(case, places or [start])


def dropped(dice: Random, case: Case) -> tuple[bytes, set[int]]:
    """Lose a byte."""
    place = dice.randrange(len(case.telegram))
    return case.telegram[:place] + case.telegram[place + 1 :], set()


def doubled(dice: Random, case: Case) -> tuple[bytes, set[int]]:
    """Bring a byte twice."""
    place = dice.randrange(len(case.telegram))
    return case.telegram[: place + 1] + case.telegram[place:], set()


def forged(dice: Random, case: Case) -> tuple[bytes, set[int]]:
    """Flip one bit of a frame's content and repair its checks: nothing shows on the line."""
    frames = [f for f in FrameReader().feed(case.telegram, 0.0) if isinstance(f, Frame)]
    frame = dice.choice(frames)
    octets = bytearray(frame.octets)
    if frame.is_hdlc:
        header = hdlc.header(frame.octets, 0)
        start = header.information if isinstance(header, hdlc.Header) else 0
        octets[dice.randrange(start, len(octets) - 3)] ^= 1 << dice.randrange(8)
        octets[-3:-1] = hdlc.crc(bytes(octets[1:-3]))
    else:
        octets[dice.randrange(mbus.HEADER_BYTES, len(octets) - 2)] ^= 1 << dice.randrange(8)
        octets[-2] = mbus.checksum(bytes(octets[mbus.HEADER_BYTES : -2]))
    begin, end = frame.offset, frame.offset + len(octets)
    return case.telegram[:begin] + bytes(octets) + case.telegram[end:], set()


def wrong_key(_dice: Random, case: Case) -> tuple[bytes, set[int]]:
    """Seal the same telegram with another key."""
    return case.other_key, set()


DAMAGES: Mapping[str, Damage] = {
    "1 bit": one_bit,
    "2 bits": two_bits,
    "burst of 2–4 bytes": burst,
    "byte lost": dropped,
    "byte doubled": doubled,
    "forged: 1 bit, checks repaired": forged,
    "wrong key": wrong_key,
}


NOT_RANDOM = ("forged: 1 bit, checks repaired", "wrong key")

# --- the layers -------------------------------------------------------------------------------


class LenientJudge(Judge):
    """A judge that leaves some checks out."""

    without: tuple[str, ...] = ()

    def _questions(self, now: Seen, *, is_verified: bool) -> tuple[Question, ...]:
        asked = super()._questions(now, is_verified=is_verified)
        return tuple(question for question in asked if question.check not in self.without)


def is_material(numbers: Mapping[str, int | float], meant: Mapping[str, int | float]) -> bool:
    """Tell whether a value is further from what the meter meant than anybody may bear."""
    for name, number in numbers.items():
        limit = next((limit for stem, limit in MATERIAL.items() if stem in name), None)
        if limit is not None and name in meant and abs(number - meant[name]) > limit:
            return True
    return False


def without_structure(case: Case, octets: bytes, key: Key) -> Readings | None:
    """Read the values from their places whatever stands around them, as many readers do."""
    assembler, opener = Assembler(), ciphering.Opener(key, None)
    reader = FrameReader()
    for frame in reader.feed(octets, 0.0) + reader.finish():
        for apdu in assembler.add(frame) if isinstance(frame, Frame) else []:
            sealed = ciphering.parse(apdu.content) if isinstance(apdu, Apdu) else apdu
            opened = opener.open(sealed) if isinstance(sealed, ciphering.Sealed) else sealed
            if isinstance(opened, ciphering.Opened) and len(opened[0]) == case.plaintext_bytes:
                readings = case.good.readings.listing.read(opened[0])
                return readings if isinstance(readings, Readings) else None
    return None


def judged(case: Case, telegram: Telegram, without: tuple[str, ...] = ()) -> bool:
    """Tell whether a telegram is served, by a judge that heard the good ones before it."""
    judge = LenientJudge()
    judge.without = without
    for good in case.earlier:
        take(judge, good)
    return take(judge, telegram._replace(received=case.good.received))


def take(judge: Judge, telegram: Telegram) -> bool:
    """Let a judge take a telegram; tell whether it is served at once."""
    snapshot = Snapshot.of(telegram)
    return judge.take(telegram, snapshot.measured, snapshot.texts).is_good


def trial(
    decoder: Decoder, case: Case, octets: bytes, marked: set[int], tally: Counter[str]
) -> None:
    """Send one damaged telegram; count who refuses it, or what comes of it."""
    found = decoder.feed(octets, 0.0) + decoder.finish()
    telegrams = [item for item in found if isinstance(item, Telegram)]
    tally["telegrams"] += 1
    if not telegrams:
        layer = next((f.layer for f in found if isinstance(f, Fault)), "nothing")
        tally[f"refused by {layer}"] += 1
        if layer in (Layer.DECRYPTION, Layer.STRUCTURE, Layer.LAYOUT):
            readings = without_structure(case, octets, Key(KEY))
            if readings and is_material(measured_of(readings), case.numbers):
                telegram = case.good._replace(readings=readings)
                tally["material, without structure"] += judged(case, telegram)
        if layer is Layer.CIPHERING and case.good.security is Security.AUTHENTICATED:
            untagged = Decoder(Key(KEY)).feed(octets, 0.0)
            if len(untagged) == 1 and isinstance(untagged[0], Telegram):
                numbers = Snapshot.of(untagged[0]).measured
                if is_material(numbers, case.numbers):
                    tally["material, without tag"] += judged(case, untagged[0])
        return
    telegram = telegrams[0]
    numbers = Snapshot.of(telegram).measured
    if not is_material(numbers, case.numbers):
        tally["harmless"] += 1
        return
    tally["material, decoder alone"] += 1
    passes = judged(case, telegram)
    tally["material, all checks"] += passes
    tally["material, first of a run"] += take(Judge(), telegram)
    for name, checks in CHECKS.items():
        tally[f"material, without {name}"] += judged(case, telegram, checks)
    for name in ("structure", "tag"):
        tally[f"material, without {name}"] += passes
    if not marked:
        tally["material, decoder and parity"] += 1
        tally["material, all checks and parity"] += passes


@lru_cache(maxsize=2)
def cases(model: str) -> list[Case]:
    """Let a meter push for a while."""
    meters = [SimulatedMeter(model, key, seed=11, start=START) for key in (KEY, OTHER_KEY)]
    decoder = decoder_of(model)
    found: list[Case] = []
    heard: list[Telegram] = []
    for number in range(PUSHES):
        octets, other = (meter.push().telegram for meter in meters)
        (telegram,) = decoder.feed(octets, number * 5.0)
        if isinstance(telegram, Fault):
            raise SystemExit(f"bench: {model}: {telegram.reason}")
        if len(heard) >= EARLIER:
            numbers = Snapshot.of(telegram).measured
            earlier = heard[-EARLIER:]
            found.append(Case(octets, telegram, numbers, earlier, other, size_of(octets)))
        heard.append(telegram)
    return found


def size_of(telegram: bytes) -> int:
    """Return how long the plaintext of a good telegram is."""
    assembler = Assembler()
    frames = [item for item in FrameReader().feed(telegram, 0.0) if isinstance(item, Frame)]
    (apdu,) = (item for frame in frames for item in assembler.add(frame))
    sealed = ciphering.parse(apdu.content) if isinstance(apdu, Apdu) else None
    if not isinstance(sealed, ciphering.Sealed):
        raise SystemExit("bench: a simulated telegram holds no ciphertext")
    return len(sealed.ciphertext)


def decoder_of(model: str) -> Decoder:
    """Return a decoder for a model's telegrams, with the authentication key where tags are sent."""
    return Decoder(Key(KEY), Key(SIMULATED_AUTH_KEY) if model in TAGGED else None)


def job(work: tuple[str, str, int, int]) -> tuple[str, str, Counter[str]]:
    """Damage some telegrams of one meter in one way."""
    model, damage, count, seed = work
    dice = Random(f"{model} {damage} {seed}")
    sent, decoder, tally = cases(model), decoder_of(model), Counter[str]()
    for _ in range(count):
        case = dice.choice(sent)
        octets, marked = DAMAGES[damage](dice, case)
        trial(decoder, case, octets, marked, tally)
    return model, damage, tally


def group(model: str) -> str:
    """Return which kind of meter a model is."""
    if model in TAGGED:
        return "HDLC with tag"
    return "M-Bus" if not model.startswith(("iskra", "siemens", "lg")) else "HDLC"


def works(telegrams: int, seed: int, *, is_8e1_alone: bool) -> Iterator[tuple[str, str, int, int]]:
    """Share the telegrams out over all meters and kinds of damage.

    Or over the random damage of the meters on a line with even parity.
    """
    models = [m for m in MODELS if group(m) == "M-Bus"] if is_8e1_alone else [*MODELS]
    damages = [d for d in DAMAGES if d not in NOT_RANDOM] if is_8e1_alone else [*DAMAGES]
    count = -(-telegrams // (len(models) * len(damages)))
    for model in models:
        for damage in damages:
            yield model, damage, count, seed


COLUMNS: Mapping[str, str] = {
    "telegrams": "telegrams",
    "decoder alone": "material, decoder alone",
    **{f"all but {name}": f"material, without {name}" for name in ("structure", "tag", *CHECKS)},
    "all checks, first of a run": "material, first of a run",
    "**all checks, parity not seen**": "material, all checks",
    "decoder and parity": "material, decoder and parity",
    "**all checks and parity**": "material, all checks and parity",
}


def report(tallies: Mapping[tuple[str, str], Counter[str]]) -> str:
    """Return the tables."""
    rows = [
        [kind, damage, *(f"{tally[key]:,}" for key in COLUMNS.values())]
        for (kind, damage), tally in tallies.items()
    ]
    whole = sum(tallies.values(), Counter())
    rows.append(["all", "all", *(f"{whole[key]:,}" for key in COLUMNS.values())])
    layers = sorted({key for tally in tallies.values() for key in tally if "refused by" in key})
    refusals = [
        [kind, damage, *(f"{tally[key]:,}" for key in (*layers, "harmless"))]
        for (kind, damage), tally in tallies.items()
    ]
    return "\n".join(
        [
            table(("meters", "damage", *COLUMNS), rows),
            "",
            "Which layer refused first, and what got through unharmed:",
            "",
            table(("meters", "damage", *(key[11:] for key in layers), "harmless"), refusals),
        ]
    )


def main() -> int:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("--telegrams", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--8e1", dest="is_8e1_alone", action="store_true", help="random damage on M-Bus alone"
    )
    options = parser.parse_args()
    todo = list(works(options.telegrams, options.seed, is_8e1_alone=options.is_8e1_alone))
    kinds = ("M-Bus", "HDLC", "HDLC with tag")
    done_of = {(group(model), damage) for model, damage, _, _ in todo}
    tallies: dict[tuple[str, str], Counter[str]] = {
        (kind, damage): Counter()
        for kind in kinds
        for damage in DAMAGES
        if (kind, damage) in done_of
    }
    with multiprocessing.Pool() as pool:
        for done, (model, damage, tally) in enumerate(pool.imap_unordered(job, todo), 1):
            tallies[group(model), damage] += tally
            show_progress(done / len(todo))
    print(report(tallies))
    only = " --8e1" if options.is_8e1_alone else ""
    print(f"\n`python bench/damage.py --telegrams {options.telegrams} --seed {options.seed}{only}`")
    return 0


if __name__ == "__main__":
    sys.exit(main())
