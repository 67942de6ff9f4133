"""Which reads a map's registers take, and what came of them. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gateway.registers import Register, RegisterMap, Table
from gateway.registers.decode import is_constant

FUNCTIONS: Mapping[Table, int] = {Table.HOLDING: 3, Table.INPUT: 4}  # MAP 6.3, 6.4


@dataclass(frozen=True, slots=True)
class Read:
    """One request: `count` registers from `address`, and the map's registers that lie there."""

    table: Table
    address: int
    count: int
    registers: Sequence[Register]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A read that brought no values, and why.

    `code` is the exception's; None: another reason. `is_silence`: nothing came in time.
    """

    function: int
    address: int
    count: int
    code: int | None
    reason: str
    is_silence: bool = False

    @property
    def where(self) -> str:
        """Return which registers were asked, and how."""
        last = self.address + self.count - 1
        some = f"registers {self.address}–{last}" if self.count > 1 else f"register {last}"
        return f"function {self.function}, {some}"


Answer = bytes | Refusal


def plan(
    register_map: RegisterMap, wanted: Iterable[Register], prefer: Table = Table.HOLDING
) -> tuple[list[Read], list[Register]]:
    """Return the fewest reads that hold all `wanted` registers, and those that no read can hold.

    No read is longer than the map allows, none crosses a hole or cuts a value, and a register that
    answers only a read of just itself is read alone.
    """
    most = register_map.written.max_read
    reads: list[Read] = []
    too_long: list[Register] = []
    together: list[Register] = []
    ordered = sorted(wanted, key=lambda r: (table_of(r, prefer), r.address, not r.only_count))
    for register in ordered:
        if register.words > most:
            too_long.append(register)
        elif register.only_count:
            reads.append(_read([register], prefer))
        elif together and _reaches(register_map, together[0], register, prefer):
            together.append(register)
        else:
            if together:
                reads.append(_read(together, prefer))
            together = [register]
    if together:
        reads.append(_read(together, prefer))
    return sorted(reads, key=lambda read: (read.table, read.address)), too_long


def _reaches(register_map: RegisterMap, first: Register, last: Register, prefer: Table) -> bool:
    """Tell whether one read may go from the first register to the last."""
    table = table_of(first, prefer)
    if table is not table_of(last, prefer):
        return False
    if last.end - first.address > register_map.written.max_read:
        return False
    spans = register_map.layout.spans[table]
    return any(span.first <= first.address and last.end <= span.end for span in spans)


def _read(registers: Sequence[Register], prefer: Table) -> Read:
    first, last = registers[0], registers[-1]
    return Read(table_of(first, prefer), first.address, last.end - first.address, tuple(registers))


def table_of(register: Register, prefer: Table = Table.HOLDING) -> Table:
    """Return the table that a register is read from: the preferred one, if it is there."""
    return prefer if prefer in register.tables else next(iter(register.tables))


def take_apart(read: Read, answer: Answer) -> dict[Register, Answer]:
    """Return each register's words of a read; if it was refused, the refusal for each."""
    if isinstance(answer, Refusal):
        return dict.fromkeys(read.registers, answer)
    taken: dict[Register, Answer] = {}
    for register in read.registers:
        start = 2 * (register.address - read.address)
        taken[register] = answer[start : start + 2 * register.words]
    return taken


def constants_of(read: Read) -> list[Read]:
    """Return the reads of a refused one that touch constants alone.

    A gateway answers those also while the meter behind it is silent.
    """
    runs: list[list[Register]] = []
    was_constant = False
    for register in read.registers:
        if is_constant(register):
            if was_constant:
                runs[-1].append(register)
            else:
                runs.append([register])
        was_constant = is_constant(register)
    return [_part(read, run) for run in runs if len(run) < len(read.registers)]


def halves(read: Read) -> list[Read]:
    """Return two reads for one; none if it is that of a single register."""
    middle = len(read.registers) // 2
    parts = (read.registers[:middle], read.registers[middle:])
    return [_part(read, part) for part in parts if middle]


def _part(read: Read, registers: Sequence[Register]) -> Read:
    first, end = registers[0].address, registers[-1].end
    return Read(read.table, first, end - first, tuple(registers))
