"""Telegrams decoded: bytes → telegrams → checked snapshots → registers, × bare AES-GCM.

    python bench/decoding.py [--seconds 20]

The floor is what the cipher alone takes for the same ciphertexts: one reused AESGCM,
`encrypt(nonce, ciphertext, None)[:-16]`; for a tag that is verified one more call, which makes it
again. Each job works through the same pushes of a simulated meter, all of them different, and the
jobs take turns. All checks are on. What is measured is CPU time, so that other work on the machine
disturbs little. The peers are measured in the same run, if they are installed.
"""

import gc
import itertools
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from measure import BenchError, best_quartile, interleave, machine, main, ratio, rough, table
from peers import CLOCK, MISSING, Peer, installed
from streams import KEY, PUSHES, Chunks, Sealed, Stream

from gateway import map_library
from gateway.meter import Heard, Meter
from gateway.registers import RegisterMap
from gateway.telegram import Decoder, Obis, Telegram

SECONDS = 20.0
SLICE_S = 0.005
WARM_UP = 5  # pushes from which a decoder learns; the others are timed
BATCH = 39  # pushes between two looks at the clock
PIECE_BYTES = 64
MAP = "sunspec_213"
DATA_NOTIFICATION = 0x0F

# honeywell is left out: it sends the list of kaifa-ma309m in as many bytes.
MODELS = ("kaifa-ma309m", "kaifa-ma110m", "kaifa-ma309-netznoe", "lg-e450-burgenland")
KSMWEST = MODELS[:2]
COMPARED = MODELS[0]  # the peers are given its telegrams

FLOOR = "bare AES-GCM"
FIRST = "first of its layout → telegram"
LEARNED = "learned → telegram"
PIECES = f"learned, {PIECE_BYTES} bytes at a time → telegram"
SNAPSHOT = "learned → checked snapshot"
REGISTERS = "learned → snapshot → registers"
GOALS = {FIRST: 60, LEARNED: 8, SNAPSHOT: 25}  # × bare AES-GCM at most, for KSMWest

# How many telegrams are decoded, and the work that is timed; what a job does between is not.
Part = tuple[int, Callable[[], object]]
Costs = Mapping[tuple[str, str], float]  # CPU seconds a telegram by model and job


# --- the jobs ---------------------------------------------------------------------------------


def jobs(stream: Stream, register_map: RegisterMap) -> dict[str, Iterator[Part]]:
    """Return all jobs over one meter's pushes."""
    return {
        FLOOR: bare_cipher(stream),
        FIRST: of_new_layouts(stream),
        LEARNED: of_one_meter(stream),
        PIECES: of_one_meter(stream, PIECE_BYTES),
        SNAPSHOT: checked(stream),
        REGISTERS: rendered(stream, register_map),
    }


def batches() -> Iterator[tuple[int, int]]:
    """Return where the batches of timed pushes start and end, once through."""
    return ((start, min(start + BATCH, PUSHES)) for start in range(WARM_UP, PUSHES, BATCH))


def bare_cipher(stream: Stream) -> Iterator[Part]:
    """Do what no decoder can do without."""
    # Plain tuples: Python takes them apart faster than named ones.
    sealed = [tuple(Sealed.of(apdu, stream.auth_key)) for apdu in stream.apdus]
    cipher = AESGCM(KEY)
    work = verify_all if stream.auth_key else decipher_all
    if not all(work(cipher, [each]) for each in sealed):
        raise BenchError(f"{stream.model}: the bare cipher finds no telegram")
    while True:
        for start, end in batches():
            yield end - start, partial(work, cipher, sealed[start:end])


def of_new_layouts(stream: Stream) -> Iterator[Part]:
    """Decode telegrams, each with a decoder of its own, which has never seen its layout.

    Decoders share nothing: a cache in the decoding half would make the second telegram cheaper.
    """
    caches = [
        f"{name}.{word}"
        for name, module in list(sys.modules.items())
        if name.startswith("gateway.telegram")
        for word, thing in vars(module).items()
        if hasattr(thing, "cache_clear")
    ]
    if caches:
        raise BenchError(f"{', '.join(caches)}: measure the first telegram without what it keeps")
    while True:
        for start, end in batches():
            decoders = [stream.decoder() for _ in range(start, end)]
            yield end - start, partial(feed_each, decoders, stream.chunks(start, end))


def of_one_meter(stream: Stream, piece_bytes: int | None = None) -> Iterator[Part]:
    """Decode telegrams with a decoder that has learned from earlier ones."""
    while True:
        decoder = stream.decoder()
        feed_all(decoder.feed, stream.chunks(0, WARM_UP, piece_bytes))
        for start, end in batches():
            chunks = stream.chunks(start, end, piece_bytes)
            yield end - start, partial(feed_all, decoder.feed, chunks)


def checked(stream: Stream) -> Iterator[Part]:
    """Make snapshots that pass all checks, as the gateway does."""
    while True:
        meter = warm_meter(stream)
        for start, end in batches():
            yield end - start, partial(feed_all, meter.take, stream.chunks(start, end))


def rendered(stream: Stream, register_map: RegisterMap) -> Iterator[Part]:
    """Make the registers of checked snapshots, as the gateway does."""
    while True:
        meter = warm_meter(stream)
        for start, end in batches():
            yield end - start, partial(render_all, register_map, meter, stream.chunks(start, end))


def by_peer(stream: Stream, decode: Callable[[bytes], object]) -> Iterator[Part]:
    """Let a peer decode APDUs."""
    for apdu in itertools.cycle(stream.apdus):
        yield 1, partial(decode, apdu)


# --- what is timed ----------------------------------------------------------------------------


def timed_slice(job: Iterator[Part]) -> float:
    """Let a job work for some time; return the CPU seconds a telegram."""
    count, elapsed_s = 0, 0.0
    while elapsed_s < SLICE_S:
        telegrams, work = next(job)
        start = time.process_time()
        work()
        elapsed_s += time.process_time() - start
        count += telegrams
    return elapsed_s / count


def decipher_all(cipher: AESGCM, batch: Sequence[tuple[bytes, ...]]) -> bool:
    """Decipher; tell whether the last is a DataNotification."""
    encrypt, plaintext = cipher.encrypt, b""
    for nonce, ciphertext, _, _ in batch:
        plaintext = encrypt(nonce, ciphertext, None)[:-16]
    return plaintext[0] == DATA_NOTIFICATION


def verify_all(cipher: AESGCM, batch: Sequence[tuple[bytes, ...]]) -> bool:
    """Decipher, and make each tag again; tell whether the last is right."""
    encrypt, again, tag = cipher.encrypt, b"", b""
    for nonce, ciphertext, tag, associated in batch:  # noqa: B007 (it is used behind the loop)
        plaintext = encrypt(nonce, ciphertext, None)[:-16]
        again = encrypt(nonce, plaintext, associated)[-16:-4]
    return again == tag


def feed_all(feed: Callable[[bytes, float], object], chunks: Chunks) -> None:
    """Feed one decoder or meter with everything."""
    for chunk, now in chunks:
        feed(chunk, now)


def feed_each(decoders: Sequence[Decoder], chunks: Chunks) -> None:
    """Feed each decoder with one chunk."""
    for decoder, (chunk, now) in zip(decoders, chunks, strict=True):
        decoder.feed(chunk, now)


def render_all(register_map: RegisterMap, meter: Meter, chunks: Chunks) -> None:
    """Feed a meter with everything, and render each snapshot."""
    for chunk, now in chunks:
        meter.take(chunk, now)
        register_map.render(meter.snapshot)


# --- that all say the same --------------------------------------------------------------------


def warm_meter(stream: Stream) -> Meter:
    """Return a meter that has learned; nobody listens."""
    meter = stream.meter(lambda _: None)
    feed_all(meter.take, stream.chunks(0, WARM_UP))
    return meter


def check(stream: Stream) -> None:
    """Decode every push in every way; BenchError unless it says what the meter meant."""
    if len({push.telegram for push in stream.pushes}) != PUSHES:
        raise BenchError(f"{stream.model}: two pushes are the same")
    learned, in_pieces = stream.decoder(), stream.decoder()
    heard: list[Heard] = []
    meter = stream.meter(heard.append)
    for number, push in enumerate(stream.pushes):
        [whole] = stream.chunks(number, number + 1)
        pieces = stream.chunks(number, number + 1, PIECE_BYTES)
        heard.clear()
        meter.take(*whole)
        for way, found in (
            (FIRST, stream.decoder().feed(*whole)),
            (LEARNED, learned.feed(*whole)),
            (PIECES, [item for piece in pieces for item in in_pieces.feed(*piece)]),
            (SNAPSHOT, heard),
        ):
            if len(found) != 1 or not isinstance(found[0], Telegram):
                raise BenchError(f"{stream.model}, {way}: push {number} decodes to {found}")
            says = {obis: (read.value, read.unit) for obis, read in found[0].readings.items()}
            meant = {Obis.parse(code): value for code, value in push.readings.items()}
            if says != meant or found[0].clock != push.clock:
                raise BenchError(f"{stream.model}, {way}: push {number} says {says}, not {meant}")


def check_peer(stream: Stream, peer: Peer) -> None:
    """Let a peer decode every push; BenchError unless it says what the meter meant."""
    for number, (push, apdu) in enumerate(zip(stream.pushes, stream.apdus, strict=True)):
        said = peer.decode(apdu)
        clock, says = said.clock, said.readings()
        meant = {code: value for code, value in push.readings.items() if code != CLOCK}
        if clock != push.clock or says != meant:
            raise BenchError(f"{peer.name}: push {number} says {clock}, {says}, not {meant}")


# --- the report -------------------------------------------------------------------------------


def report(peers: Sequence[Peer], costs: Costs, sizes: Mapping[str, int], where: str) -> str:
    """Return the tables and what belongs below them; `where` is the kind of machine."""
    times = {(model, job): cost / costs[model, FLOOR] for (model, job), cost in costs.items()}
    faster = {peer.name: costs[COMPARED, peer.name] / costs[COMPARED, LEARNED] for peer in peers}
    missed = [
        f"{job}, {model}: {ratio(times[model, job])} instead of {goal}"
        for job, goal in GOALS.items()
        for model in KSMWEST
        if times[model, job] > goal
    ] + [
        f"{peer.name}: {ratio(faster[peer.name])} × instead of {peer.goal} ×"
        for peer in peers
        if peer.goal and faster[peer.name] < peer.goal
    ]
    floor_us, learned_us, whole_us = (
        rough(costs[COMPARED, job] * 1e6) for job in (FLOOR, LEARNED, REGISTERS)
    )
    return "\n".join(
        [
            own_table(times, sizes),
            "",
            peer_table(peers, times, faster) if peers else MISSING,
            "",
            f"{where}, best quartile of interleaved slices, registers of {MAP}: "
            f"`python bench/decoding.py`. Goals missed: {'; '.join(missed) or 'none'}. "
            f"Order of magnitude, {COMPARED}: {floor_us} µs for the cipher, {learned_us} µs from "
            f"bytes to the telegram, {whole_us} µs to the registers.",
        ]
    )


def own_table(times: Costs, sizes: Mapping[str, int]) -> str:
    """Return what obisgate takes, × bare AES-GCM of the same payload."""
    header = ("CPU a telegram, × bare AES-GCM", "goal, KSMWest", *MODELS)
    rows = [
        (
            job,
            f"≤ {GOALS[job]}" if job in GOALS else "–",
            *(ratio(times[model, job]) for model in MODELS),
        )
        for job in (FIRST, LEARNED, PIECES, SNAPSHOT, REGISTERS)
    ]
    return table(header, [("bytes", "–", *(f"{sizes[model]}" for model in MODELS)), *rows])


def peer_table(peers: Sequence[Peer], times: Costs, faster: Mapping[str, float]) -> str:
    """Return what the peers take for the same telegrams, and how much faster obisgate is."""
    header = (f"the same telegrams of {COMPARED}", "given", "× bare AES-GCM", "obisgate", "goal")
    rows = [
        (
            peer.name,
            peer.given,
            ratio(times[COMPARED, peer.name]),
            f"{ratio(faster[peer.name])} × faster",
            f"≥ {peer.goal} ×" if peer.goal else "–",
        )
        for peer in peers
    ]
    return table(
        header, [("obisgate, learned", "bytes", ratio(times[COMPARED, LEARNED]), "–", "–"), *rows]
    )


def run(seconds: float) -> str:
    """Measure everything; return the report."""
    register_map = map_library.load(MAP, None)
    streams = {model: Stream.of(model) for model in MODELS}
    for stream in streams.values():
        check(stream)
    peers = installed(KEY)
    for peer in peers:
        check_peer(streams[COMPARED], peer)
    work = {
        (model, name): job
        for model, stream in streams.items()
        for name, job in jobs(stream, register_map).items()
    } | {(COMPARED, peer.name): by_peer(streams[COMPARED], peer.decode) for peer in peers}
    slices = {name: partial(timed_slice, job) for name, job in work.items()}
    gc.freeze()  # what was made so far is no garbage of any job
    costs = {name: best_quartile(found) for name, found in interleave(slices, seconds).items()}
    sizes = {model: len(stream.pushes[0].telegram) for model, stream in streams.items()}
    return report(peers, costs, sizes, machine())


if __name__ == "__main__":
    sys.exit(main(__doc__.split("\n\n")[0], SECONDS, run))
