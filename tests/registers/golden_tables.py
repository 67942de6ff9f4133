"""What every register of every map reads for fixed snapshots, as a client decodes it.

    .venv/bin/python -m tests.registers.golden_tables    # writes golden/*.txt anew

The values are raw: what stands in the words, before any scale. They are decoded here with nothing
of the gateway's codec, so that a wrong word order or type shows.
"""

import struct
import sys
from datetime import UTC, datetime
from pathlib import Path

from gateway import map_library
from gateway.registers import Image, Register, RegisterMap, Table
from gateway.snapshot import QUANTITIES, Origin, Snapshot
from gateway.snapshot.snapshot import Values

FOLDER = Path(__file__).parent / "golden"
CODES = {
    "int16": "h", "uint16": "H", "sunssf": "h", "int32": "i", "uint32": "I", "acc32": "I",
    "float32": "f", "int64": "q", "uint64": "Q", "acc64": "Q", "float64": "d",
}  # fmt: skip
NOON = int(datetime(2026, 6, 21, 12, 0, tzinfo=UTC).timestamp())


def _three_phases(
    volts: tuple[float, ...], amperes: tuple[float, ...], drawn: int, fed: int, energy: int
) -> dict[str, int | float]:
    return {
        **{f"voltage_l{n}": u for n, u in enumerate(volts, 1)},
        **{f"current_l{n}": i for n, i in enumerate(amperes, 1)},
        "active_power_import_total": drawn,
        "active_power_export_total": fed,
        "reactive_power_import_total": 0 if fed else 310,
        "reactive_power_export_total": 120 if fed else 0,
        "energy_active_import_total": energy,
        "energy_active_export_total": energy // 2,
        "energy_active_import_t1": energy - energy // 3,
        "energy_active_import_t2": energy // 3,
        "energy_reactive_import_total": energy // 10,
        "energy_reactive_export_total": energy // 7,
        "meter_clock": NOON,
    }


def _every_quantity() -> dict[str, int | float]:
    """Return values that all differ, also of what no meter sends: no place shows a neighbour's."""
    first_and_step = {
        "V": (220.0, 0.5), "A": (3.0, 0.25), "W": (500, 10), "VA": (600, 10), "var": (50, 10),
        "": (0.5, 0.01), "Hz": (50.0, 0.0), "deg": (10.0, 1.0), "s": (NOON, 0), "Ah": (3_000, 0),
    }  # fmt: skip
    found: dict[str, int | float] = {}
    for number, quantity in enumerate(QUANTITIES.values()):
        first, step = first_and_step.get(quantity.unit, (1_000_000, 11_000))
        if quantity.origin is not Origin.SERVICE:
            found[quantity.name] = round(first + step * number, 3)
    split = {"total": -3300, "l1": -1200, "l2": -1100, "l3": -1000}
    for of, watts in split.items():
        found[f"active_power_{of}"] = watts
        found[f"active_power_import_{of}"] = 0
        found[f"active_power_export_{of}"] = -watts
    return found


TEXTS = {"meter_number": "1KFM0200154321", "device_name": "KFM1200200000003"}
MEASURED: dict[str, dict[str, int | float]] = {
    "importing": _three_phases((230.1, 231.2, 229.8), (5.25, 3.11, 8.42), 3801, 0, 12_345_678),
    "exporting": _three_phases((238.9, 240.3, 239.2), (9.81, 9.78, 10.02), 0, 7023, 23_456_789),
    "one phase": {
        "voltage_l1": 229.4,
        "current_l1": 4.36,
        "active_power_import_total": 997,
        "active_power_export_total": 0,
        "energy_active_import_total": 1_234_567,
        "energy_active_export_total": 0,
        "meter_clock": NOON,
    },
    "no currents": {
        "active_power_import_total": 1500,
        "active_power_export_total": 0,
        "energy_active_import_total": 7_654_321,
        "energy_active_export_total": 42,
    },
    "all zero": _three_phases((0.0,) * 3, (0.0,) * 3, 0, 0, 0) | {"reactive_power_import_total": 0},
    "63 A drawn": _three_phases((253.0,) * 3, (63.0,) * 3, 47_817, 0, 4_000_000_000),
    "63 A fed in": _three_phases((253.0,) * 3, (63.0,) * 3, 0, 47_817, 4_000_000_000),
    "every quantity": _every_quantity(),
}


def snapshot(name: str) -> Snapshot:
    """Return one of the fixed snapshots."""
    measured = MEASURED[name]
    return Snapshot(Values(measured, TEXTS), TEXTS, 0.0, measured)


def raw(image: Image, table: Table, register: Register) -> str:
    """Return what a client decodes from a register: a number, a text, or why it gets none."""
    octets = image.read(table, register.address, register.words)
    return decoded(register, octets) if isinstance(octets, bytes) else octets.name


def decoded(register: Register, octets: bytes) -> str:
    """Return the number or text that a register's words are."""
    if register.type is None:
        characters = octets[1::2] if octets[::2].strip(b"\0") == b"" else octets
        return repr(characters.rstrip(b"\0").decode("ascii"))
    if register.is_little:
        words = [octets[at : at + 2] for at in range(0, len(octets), 2)]
        octets = b"".join(reversed(words))
    number = struct.unpack(">" + CODES[register.type.name], octets)[0]
    return f"{number:.9g}" if isinstance(number, float) else str(number)


def table_of(register_map: RegisterMap) -> str:
    """Return the table of a map: a line a register, a column a snapshot."""
    images = [register_map.render(snapshot(name)) for name in MEASURED]
    rows = [("address", "table", "type", "shows", *MEASURED)]
    for table in sorted({table for r in register_map.registers for table in r.tables}):
        for register in sorted(register_map.registers, key=lambda r: (r.address, r.only_count)):
            if table not in register.tables:
                continue
            kind = register.type.name if register.type else f"text {register.words}"
            order = " le" if register.is_little and register.words > 1 else ""
            values = [raw(image, table, register) for image in images]
            if len(set(values)) == 1:
                values = values[:1]
            rows.append((str(register.address), table, kind + order, _shows(register), *values))
    if len({frozenset(r.tables) for r in register_map.registers}) == 1:
        rows = _first_table(rows)
    widths = [max(len(row[i]) for row in rows if i < len(row)) for i in range(len(rows[0]))]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False))
        for row in rows
    )
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _shows(register: Register) -> str:
    step = f" [{register.step}]" if register.step else ""
    return ("" if register.is_measured else "= ") + (register.shows or '""') + step


def _first_table(rows: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Return only the rows of one table, where both read alike."""
    first = rows[1][1]
    return [row for row in rows if row[1] in ("table", first)]


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.txt"):
        old.unlink()
    for name in map_library.find(None):
        (FOLDER / f"{name}.txt").write_text(table_of(map_library.load(name, None)), "utf-8")
    sys.exit(0)
