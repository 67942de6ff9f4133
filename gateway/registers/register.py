"""One line of a register map: what stands at an address, and how its bytes are made."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isclose, log10

from gateway.located import Located, nearest
from gateway.registers import codec
from gateway.registers.codec import CHARS, STRING, TYPES, RegisterType
from gateway.registers.expression import Numbers, compile_expression
from gateway.registers.given import HEADROOM, Given
from gateway.registers.image import Table
from gateway.snapshot import QUANTITIES
from gateway.snapshot.quantities import SERVICE, TEXTS
from gateway.snapshot.snapshot import SERIAL_DIGITS, serial_of

CONTENT_WORDS = ("quantity", "value", "text", "expression", "scale_for")
REGISTER_WORDS = (
    "address",
    *CONTENT_WORDS,
    "type",
    "length",
    "unit",
    "scale_register",
    "not_available",
    "unconnected",
    "only_count",
    "table",
    "word_order",
)
WORD_ORDERS = ("big", "little")
MAX_ADDRESS = 0xFFFF
MAX_STRING_WORDS = 125
SERIAL = "serial"  # placeholder: the emulated meter's own serial number
SERIAL_NUMBER = "meter_serial"
UNIT_ID = "unit_id"
SCALES = range(5)  # powers of ten of W, VA, var: meters count whole ones
_PLACEHOLDER = re.compile(r"\$\{([^}]*)\}")
_STEP = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(?:\s+(.*))?")

Scales = Mapping[tuple[Table, int], int]
Content = Callable[[Numbers, Mapping[str, str]], bytes]
Evaluate = Callable[[Numbers], int | float | None]


@dataclass(frozen=True, slots=True)
class Register:
    """One line of a map.

    `content` gives the bytes: constant ones, or those for numbers and texts by name. `number` is
    what they show, in the quantity's unit: None without one of the quantities that it `needs`.
    `quantity` names what the register shows, if it is a single quantity, `sign` is -1 if it shows
    it the other way round. `exponent` is the power of ten of the quantity's unit in which the
    register counts.
    """

    address: int
    words: int
    tables: frozenset[Table]
    content: bytes | Content
    number: Evaluate | None
    needs: frozenset[str]
    unconnected: bytes | None
    type: RegisterType | None
    quantity: str | None
    sign: int
    exponent: int
    is_measured: bool
    only_count: bool
    is_little: bool
    shows: str
    unit: str
    line: Located

    @property
    def end(self) -> int:
        """The address behind the register's last word."""
        return self.address + self.words

    @property
    def step(self) -> str:
        """What a raw 1 means: "W", "0.01 A", "10 W", "kWh"."""
        exponent = self.exponent - codec.UNITS.get(self.unit, ("", 0))[1]
        return f"{10**exponent:g} {self.unit}".strip() if exponent else self.unit


@dataclass(frozen=True, slots=True)
class Setting:
    """What a map's own words say for all its registers.

    `missing` are not-available patterns by type that differ from the usual ones.
    """

    base: int
    tables: frozenset[Table]
    word_order: str
    missing: Mapping[str, bytes]
    given: Given


def own_tables(words: Mapping[str, Located], tables: frozenset[Table]) -> frozenset[Table]:
    """Return the tables of a register: its own, if it names one."""
    if "table" not in words:
        return tables
    return frozenset({Table(words["table"].choice(list(Table), "table"))})


def extent(words: Mapping[str, Located], base: int) -> tuple[int, int]:
    """Return the addresses from which and before which a line's register lies."""
    type_name = words["type"].choice([*TYPES, STRING, CHARS], "type")
    register_type = TYPES.get(type_name)
    length = register_type.words if register_type else _text_words(words)
    address = base + words["address"].integer(0, MAX_ADDRESS)
    if address + length - 1 > MAX_ADDRESS:
        raise words["address"].error(f"{length} registers from {address} pass the last, 65535")
    return address, address + length


def scale_factors(lines: list[Located], setting: Setting) -> Scales:
    """Return the exponents of the map's scale-factor registers by table and address."""
    found: dict[tuple[Table, int], int] = {}
    for line in lines:
        words = line.mapping(REGISTER_WORDS, required=("address", "type"))
        if words["type"].text() != "sunssf":
            continue
        if "value" in words:
            exponent = words["value"].integer(-32768, 32767)
            if not -10 <= exponent <= 10 and exponent != -32768:
                raise words["value"].error(f"{exponent} is not between -10 and 10")
        elif "scale_for" in words:
            exponent = _scale_for(words, lines, setting)
        else:
            continue
        start, _ = extent(words, setting.base)
        for table in own_tables(words, setting.tables):
            found[table, start] = exponent
    return found


def _scale_for(words: Mapping[str, Located], lines: list[Located], setting: Setting) -> int:
    """Return the finest scale in which the registers that use it hold the rated power."""
    quantity = words["scale_for"].choice(QUANTITIES, "quantity")
    if QUANTITIES[quantity].unit not in ("W", "VA", "var"):
        raise words["scale_for"].error(f"{quantity} is no power: give its scale as a value")
    address = words["address"].integer(0, MAX_ADDRESS)
    users = [
        own
        for line in lines
        for own in [line.mapping(REGISTER_WORDS, required=("address", "type"))]
        if "scale_register" in own and own["scale_register"].integer(0, MAX_ADDRESS) == address
    ]
    highest = min(
        (
            TYPES[own["type"].text()].highest * 10 ** (_power(own["unit"]) if "unit" in own else 0)
            for own in users
            if own["type"].text() in TYPES
        ),
        default=0,
    )
    if not highest:
        raise words["address"].error("no register names this one as its scale_register")
    most = HEADROOM * setting.given.rated_power_w
    return next((n for n in SCALES if most <= highest * 10**n), SCALES[-1])


def parse_register(line: Located, setting: Setting, scales: Scales) -> Register:
    """Read one line; ConfigError names line, column and what is wrong."""
    words = line.mapping(REGISTER_WORDS, required=("address", "type"))
    kinds = [word for word in CONTENT_WORDS if word in words]
    if len(kinds) != 1:
        raise line.error(f"a register has one of {', '.join(CONTENT_WORDS)}")
    kind = kinds[0]
    type_name = words["type"].choice([*TYPES, STRING, CHARS], "type")
    if (type_name in (STRING, CHARS)) != (kind == "text"):
        raise words["type"].error("'text' goes with type string or chars, and only with those")
    _refuse_misplaced(words, kind, type_name)
    register_type = TYPES.get(type_name)
    start, end = extent(words, setting.base)
    if "only_count" in words and words["only_count"].integer(1, 125) != end - start:
        raise words["only_count"].error(f"only_count is the register's own length, {end - start}")
    order = words["word_order"].choice(WORD_ORDERS, "word order") if "word_order" in words else None
    quantity, sign = _quantity(words["quantity"]) if kind == "quantity" else (None, 1)
    tables = own_tables(words, setting.tables)
    exponent = _exponent(words, quantity, setting.base, tables, scales)
    is_little = (order or setting.word_order) == "little"
    content: bytes | Content
    number, needs = None, frozenset[str]()
    unconnected = None
    if register_type is None:
        content = _text_content(words[kind], end - start, type_name, setting.given)
    elif kind in ("value", "scale_for"):
        octets = _constant_of(words, kind, register_type, start, tables, scales, setting)
        content = codec.order_words(octets, little=is_little)
    else:
        missing = setting.missing.get(type_name, register_type.not_available)
        if "not_available" in words:
            missing = constant(words["not_available"], register_type)
        if "unconnected" in words:
            octets = constant(words["unconnected"], register_type)
            unconnected = codec.order_words(octets, little=is_little)
        register_type = register_type.apart_from(missing)
        number, needs = _number(words[kind], quantity, sign, register_type, exponent, setting.given)
        content = _number_content(number, register_type, exponent, missing, little=is_little)
        if SERIAL_NUMBER in words[kind].text() and not needs and number({}) is not None:
            content = content({}, {})  # the emulated meter's own, it never changes
    return Register(
        address=start,
        words=end - start,
        tables=tables,
        content=content,
        number=number,
        needs=needs,
        unconnected=unconnected,
        type=register_type,
        quantity=quantity,
        sign=sign,
        exponent=exponent,
        is_measured=callable(content) and quantity not in SERVICE,
        only_count="only_count" in words,
        is_little=is_little,
        shows=words[kind].text() if kind != "scale_for" else f"{_only(tables, start, scales)}",
        unit=_unit_shown(words, quantity),
        line=line,
    )


def constant(source: Located, register_type: RegisterType) -> bytes:
    """Return the bytes of a constant; ConfigError if the type cannot hold it."""
    try:
        return register_type.encode_constant(source.number())
    except ValueError as problem:
        raise source.error(str(problem)) from None


def _refuse_misplaced(words: Mapping[str, Located], kind: str, type_name: str) -> None:
    """Refuse words that mean nothing on this register."""
    is_number = kind in ("quantity", "expression")
    is_scaled = is_number and type_name != "sunssf" and not type_name.startswith("float")
    for word, is_meant, where in (
        ("unit", is_number, "a quantity or an expression"),
        ("scale_register", is_scaled, "a quantity or an expression of an integer type"),
        ("not_available", is_number, "a quantity or an expression"),
        ("unconnected", is_number, "a quantity or an expression"),
        ("length", kind == "text", "a text"),
        ("word_order", kind != "text", "a number"),
    ):
        if word in words and not is_meant:
            raise words[word].error(f"{word!r} belongs to {where}")
    if (type_name == "sunssf") != (kind in ("value", "scale_for")) and type_name == "sunssf":
        raise words["type"].error("a scale factor is a 'value': it never changes at run time")
    if kind == "scale_for" and type_name != "sunssf":
        raise words["type"].error("'scale_for' goes with type sunssf")


def _text_words(words: Mapping[str, Located]) -> int:
    if "length" not in words:
        raise words["type"].error("a text needs 'length', in registers")
    return words["length"].integer(1, MAX_STRING_WORDS)


def _quantity(source: Located) -> tuple[str, int]:
    """Read a quantity, which a minus in front turns round."""
    text = source.text()
    name = text.removeprefix("-")
    if name not in QUANTITIES:
        raise source.error(f"unknown quantity {name!r}{nearest(name, QUANTITIES)}")
    if name in SERVICE and text != name:
        raise source.error(f"{name} is the service's own, it has no other way round")
    return name, -1 if text.startswith("-") else 1


def _exponent(
    words: Mapping[str, Located],
    quantity: str | None,
    base: int,
    tables: frozenset[Table],
    scales: Scales,
) -> int:
    """Return the power of ten in which the register counts: its unit's and its scale factor's."""
    exponent = 0
    if "unit" in words:
        unit, step = _unit(words["unit"])
        own, exponent = codec.UNITS[unit]
        exponent += step
        if quantity and own != QUANTITIES[quantity].unit:
            meant = QUANTITIES[quantity].unit or "a plain ratio"
            raise words["unit"].error(f"{quantity} is in {meant}, not in {unit or 'a plain ratio'}")
    if "scale_register" in words:
        address = base + words["scale_register"].integer(0, MAX_ADDRESS)
        found = {scales.get((table, address)) for table in tables}
        factor = found.pop()
        if factor is None or found:
            raise words["scale_register"].error(f"no register of type sunssf stands at {address}")
        if factor == -32768:
            raise words["scale_register"].error(f"the scale factor at {address} is not implemented")
        exponent += factor
    return exponent


def _unit(source: Located) -> tuple[str, int]:
    """Read "kWh" or "0.1 kWh" as unit and power of ten; a plain ratio as 0.001."""
    text = source.text().strip()
    match = _STEP.fullmatch(text)
    step, unit = (match[1], match[2] or "") if match else ("1", text)
    if unit not in codec.UNITS:
        hint = nearest(unit, [u for u in codec.UNITS if u]) or "; one looks like kWh or 0.1 V"
        raise source.error(f"unknown unit {unit!r}{hint}")
    power = log10(float(step)) if float(step) else 0.5
    if not isclose(power, round(power), abs_tol=1e-9):
        raise source.error(f"a step is a power of ten, as in 0.1 {unit or 'V'}")
    return unit, round(power)


def _power(source: Located) -> int:
    """Return the power of ten of the catalogue's unit that a unit with its step is."""
    unit, step = _unit(source)
    return codec.UNITS[unit][1] + step


def _unit_shown(words: Mapping[str, Located], quantity: str | None) -> str:
    if "unit" in words:
        return _unit(words["unit"])[0]
    return QUANTITIES[quantity].unit if quantity else ""


def _only(tables: frozenset[Table], start: int, scales: Scales) -> int:
    return scales[next(iter(tables)), start]


def _constant_of(
    words: Mapping[str, Located],
    kind: str,
    register_type: RegisterType,
    start: int,
    tables: frozenset[Table],
    scales: Scales,
    setting: Setting,
) -> bytes:
    """Return the bytes of a constant: written, the unit id, or a scale factor that was chosen."""
    if kind == "scale_for":
        return register_type.encode_constant(_only(tables, start, scales))
    if words[kind].text() != UNIT_ID:
        return constant(words[kind], register_type)
    if setting.given.unit_id is None:
        return setting.missing.get(register_type.name, register_type.not_available)
    return register_type.encode_constant(setting.given.unit_id)


def _number(
    source: Located,
    quantity: str | None,
    sign: int,
    register_type: RegisterType,
    exponent: int,
    given: Given,
) -> tuple[Evaluate, frozenset[str]]:
    """Return how a quantity or an expression gives a number, and the quantities it needs."""
    evaluate: Evaluate
    if quantity is None or quantity == SERIAL_NUMBER:
        try:
            evaluate = expression = compile_expression(source.text())
        except ValueError as problem:
            raise source.error(str(problem)) from None
        needs = expression.needs
    else:
        needs = frozenset({quantity})

        def evaluate(numbers: Numbers) -> int | float | None:
            number = numbers.get(quantity)
            return None if number is None else sign * number

    if SERIAL_NUMBER not in needs:
        return evaluate, needs
    evaluate = _of_own_serial(evaluate, given, source)
    if given.serial is not None:
        return evaluate, needs - {SERIAL_NUMBER}
    most = evaluate({SERIAL_NUMBER: 10**SERIAL_DIGITS - 1})
    if given.copy > 1 and most is not None and not register_type.holds(most, exponent):
        reason = f"one meter as {given.copy} meters with numbers: give each its 'serial'"
        raise source.error(reason)
    return evaluate, needs


def _number_content(
    evaluate: Evaluate,
    register_type: RegisterType,
    exponent: int,
    missing: bytes,
    *,
    little: bool,
) -> Content:
    def content(numbers: Numbers, _texts: Mapping[str, str]) -> bytes:
        number = evaluate(numbers)
        octets = missing if number is None else register_type.encode(number, exponent)
        return codec.order_words(octets, little=little)

    return content


def _of_own_serial(evaluate: Evaluate, given: Given, source: Located) -> Evaluate:
    """Return the function with the emulated meter's serial number in place of the smart meter's."""
    if given.serial is not None:
        digits = "".join(filter(str.isdigit, given.serial))[-SERIAL_DIGITS:]
        if not digits:
            raise source.error(f"serial {given.serial!r} has no digit, and this map needs a number")
        own = int(digits)
        return lambda numbers: evaluate({**numbers, SERIAL_NUMBER: own})
    first = (given.copy - 1) * 10**SERIAL_DIGITS

    def numbered(numbers: Numbers) -> int | float | None:
        number = numbers.get(SERIAL_NUMBER)
        return None if number is None else evaluate({**numbers, SERIAL_NUMBER: first + number})

    return evaluate if given.copy == 1 else numbered


def _text_content(source: Located, length: int, type_name: str, given: Given) -> bytes | Content:
    template = source.text()
    encode = codec.encode_chars if type_name == CHARS else codec.encode_text
    room = length if type_name == CHARS else 2 * length
    names = _PLACEHOLDER.findall(template)
    known = ", ".join(f"${{{text}}}" for text in (SERIAL, *TEXTS))
    for name in names:
        if name != SERIAL and name not in TEXTS:
            raise source.error(f"unknown placeholder ${{{name}}}; known are {known}")
    plain = _PLACEHOLDER.sub("", template)
    if "${" in plain:
        raise source.error(f"a placeholder is not closed; known are {known}")
    if not plain.isascii() or len(plain) > room:
        raise source.error(f"{length} registers hold {room} ASCII characters")
    if not names:
        return encode(template, length)
    if given.serial is not None and set(names) == {SERIAL}:
        serial = _fitted(given.serial, "", room - len(plain))
        return encode(_PLACEHOLDER.sub(lambda _: serial, template), length)
    suffix = "" if given.copy == 1 else f"-{given.copy}"
    needed = {*names} - {SERIAL}
    needs_serial = SERIAL in names and given.serial is None

    def shown(name: str, texts: Mapping[str, str]) -> str:
        if name != SERIAL:
            return texts[name]
        if given.serial is not None:
            return given.serial
        return _fitted(serial_of(texts) or "", suffix, room - len(plain))

    def content(_numbers: Numbers, texts: Mapping[str, str]) -> bytes:
        if not needed <= texts.keys() or (needs_serial and serial_of(texts) is None):
            return bytes(2 * length)
        return encode(_PLACEHOLDER.sub(lambda match: shown(match[1], texts), template), length)

    return content


def _fitted(number: str, suffix: str, room: int) -> str:
    """Return a number with its suffix, cut in front: its end is what differs between meters."""
    return number[-max(1, room - len(suffix)) :] + suffix
