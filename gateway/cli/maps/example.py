"""What a map shows of a simulated meter: always the same house, so that values can be compared."""

from gateway.located import ConfigError
from gateway.registers import ExceptionCode, Image, Register, RegisterMap
from gateway.registers.codec import UNITS
from gateway.registers.decode import is_not_available, reads
from gateway.simulator import MODELS
from gateway.snapshot import Diagnostics, Freshness, Snapshot
from gateway.snapshot.diagnostics import freshness_numbers
from gateway.sources import SourceAddress
from gateway.sources.simulated import SimulatorSource
from gateway.telegram import Decoder, Key, Telegram

DEFAULT_MODEL = next(iter(MODELS))
SEED = 1
# What the service itself would show of it: two telegrams, the second a minute after the start.
NOW, AGE_S, PAUSE_S = 62.0, 2.0, 5.0
FRESHNESS = Freshness(hold_s=15.0)
FRESHNESS.came(NOW - AGE_S - PAUSE_S)
FRESHNESS.came(NOW - AGE_S)
OWN = {
    **freshness_numbers(FRESHNESS, NOW),
    **Diagnostics(telegrams=2, invocation_counter=2).numbers(NOW),
}
MOST_TELEGRAMS = 4
FLOAT_DIGITS = 7
_KEY = Key(bytes(range(16)))  # it protects nothing


def snapshot(model: str) -> Snapshot:
    """Return what a simulated meter of that model sends first."""
    if model not in MODELS:
        raise ConfigError(f"--meter: unknown meter {model!r}; known are {', '.join(MODELS)}")
    address = SourceAddress.parse(f"simulator:{model}?seed={SEED}")
    source = SimulatorSource.parse(address, _KEY, None)
    meter, decoder = source.meter(), Decoder(_KEY)
    for _ in range(MOST_TELEGRAMS):
        for item in decoder.feed(meter.push().telegram, 0.0):
            if isinstance(item, Telegram):
                return Snapshot.of(item)
    raise ConfigError(f"the simulated {model} sent nothing that can be shown")


def value(register: Register, register_map: RegisterMap, image: Image) -> str:
    """Return what a client reads there, in the register's unit, as people write it."""
    table = min(register.tables)
    word = register_map.layout.locate(table, register.address, register.words)
    octets = image.read(table, register.address, register.words)
    if isinstance(word, ExceptionCode) or isinstance(octets, ExceptionCode):
        return "cannot be read"
    octets = register_map.with_own(octets, word, lambda: OWN)
    if is_not_available(register, octets):
        return "–"
    found = reads(register, octets)
    if isinstance(found, str):
        return repr(found)
    power = UNITS[register.unit][1]
    if register.type is not None and register.type.is_float:
        shown = found / 10**power
        decimals = max(0, FLOAT_DIGITS - len(str(int(abs(shown)))))
        number = _short(f"{shown:.{decimals}f}")
    elif power == 0 and register.exponent >= 0:
        number = f"{found:d}"
    else:
        number = f"{found / 10**power:.{max(0, power - register.exponent)}f}"
    return f"{number} {register.unit}".rstrip()


def _short(number: str) -> str:
    return number.rstrip("0").rstrip(".") if "." in number else number
