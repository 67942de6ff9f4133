"""What the simulated meters say, at every layer of a telegram."""

from datetime import UTC, datetime
from functools import cache

from gateway.simulator import MODELS, House, clocks
from gateway.simulator.entries import Moment
from gateway.simulator.frames import data_notification, seal
from gateway.simulator.local_time import austrian

KEY, AUTH_KEY = bytes(range(16)), bytes(range(0xD0, 0xE0))
MODEL_NAMES = tuple(MODELS)
START = datetime(2024, 7, 1, 10, 0, 0, tzinfo=UTC)
SEED, SERIAL = 7, 1
HEADER_BYTES = 18  # of a plaintext, before its body


def title_of(model: str) -> bytes:
    """Return the system title of a meter."""
    return (MODELS[model].system_title << 28 | SERIAL).to_bytes(8, "big")


@cache
def plaintexts(model: str, count: int = 3) -> tuple[bytes, ...]:
    """Return what a meter pushes one after another, not yet sealed."""
    it, house, spoken = MODELS[model], House(MODELS[model].phases, SEED, START), []
    for number in range(count):
        state = house.advance(it.interval_s if number else 0.0)
        local = austrian(state.moment).replace(microsecond=0)
        names = it.meter_number.format(SERIAL), it.device_name.format(SERIAL)
        body = it.layout.body(Moment(state, local, it.clock.listed, *names))
        clock = clocks.encode(local, it.clock.header)
        spoken.append(data_notification(it.invoke_id_flags | number, clock, body))
    return tuple(spoken)


def sealed(plaintext: bytes, model: str, *, auth: bool = False, counter: int = 1) -> bytes:
    """Return the APDU in which a meter sends a plaintext."""
    return seal(
        plaintext,
        key=KEY,
        system_title=title_of(model),
        invocation_counter=counter,
        auth_key=AUTH_KEY if auth else None,
        suite=MODELS[model].suite,
    )


def framed(apdu: bytes, model: str) -> bytes:
    """Return the telegram in which a meter sends an APDU."""
    return b"".join(MODELS[model].wire.frames(apdu))


@cache
def telegrams(model: str, *, auth: bool = False) -> tuple[bytes, ...]:
    """Return what a meter sends one after another."""
    return tuple(
        framed(sealed(plaintext, model, auth=auth, counter=1 + number), model)
        for number, plaintext in enumerate(plaintexts(model))
    )
