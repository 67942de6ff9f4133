"""A sealed message, written down: its ciphering header, the nonce as it is built, the tag."""

from collections.abc import Sequence
from typing import NamedTuple

from gateway.telegram import ber, ciphering
from gateway.telegram.anatomy.field import Change, Ranges, Sheet, count_of
from gateway.telegram.anatomy.plaintext import explain_plaintext
from gateway.telegram.anatomy.writer import Plaintext
from gateway.telegram.ciphering import Key, Opener, Sealed
from gateway.telegram.fault import Fault, Layer
from gateway.telegram.layouts import Layout

TITLE_START = 2
TITLE_END = TITLE_START + ciphering.SYSTEM_TITLE_BYTES
MAKER_BYTES = 3
COUNTER_BYTES = 4


class Message(NamedTuple):
    """An APDU, or the beginning of one; `pieces` as in `segments.Apdu`.

    Of one that is not whole only the first `sure_bytes` stand in frames whose checks are right.
    """

    content: bytes
    pieces: Sequence[tuple[int, int]]
    is_whole: bool = True
    sure_bytes: int = 0

    def ranges(self, start: int, end: int) -> Ranges:
        """Return where on the wire the bytes `content[start:end]` stand."""
        found = []
        end = min(end, len(self.content))
        behind = [index for index, _ in self.pieces[1:]] + [len(self.content)]
        for (index, offset), next_index in zip(self.pieces, behind, strict=True):
            first, last = max(start, index), min(end, next_index)
            if first < last:
                found.append((offset + first - index, offset + last - index))
        return tuple(found)

    def offset(self, index: int) -> int:
        """Return where on the wire the byte `content[index]` stands, or would stand."""
        start, offset = next(piece for piece in reversed(self.pieces) if piece[0] <= index)
        return offset + index - start


class Secrets(NamedTuple):
    """What the reader knows of the meter."""

    key: Key | None
    auth_key: Key | None
    layouts: Sequence[Layout]
    layout: Layout | None


def explain_message(sheet: Sheet, message: Message, secrets: Secrets) -> None:
    """Write down a message, as far as it goes."""
    content = message.content
    first = len(sheet.fields)
    sheet.group(
        "message",
        Layer.CIPHERING,
        0,
        message.ranges(0, len(content)),
        value=count_of(len(content)),
        notes=() if message.is_whole else ("message.cut",),
    )
    sealed, fault = _parse(content)
    _explain_header(sheet, message, sealed, fault)
    if fault and message.is_whole:
        sheet.remark(fault.at(message.offset(fault.offset)), 1)
    if sealed:
        _explain_body(sheet, message, sealed, secrets, is_whole=message.is_whole and not fault)
    surplus = message.ranges(0, len(content))
    sheet.field("message.unexplained", Layer.CIPHERING, 1, surplus, Change.UNKNOWN)
    # The lengths are what shows that header and frames agree about what stands where.
    length = ber.length(content, TITLE_END)
    is_sound = sum(length or ()) == len(content) if message.is_whole else sealed is not None
    sure = len(content) if message.is_whole else message.sure_bytes
    sheet.doubt(first, message.ranges(0, sure if is_sound else 0))


def _parse(content: bytes) -> tuple[Sealed | None, Fault | None]:
    """Parse a message; one of the wrong length also as if it had the right one."""
    sealed = ciphering.parse(content)
    if isinstance(sealed, Sealed):
        return sealed, None
    length = ber.length(content, TITLE_END)
    if length is None or len(content) == sum(length):
        return None, sealed
    again = ciphering.parse(content[: sum(length)].ljust(sum(length), b"\0"))
    return (again, sealed) if isinstance(again, Sealed) else (None, again)


def _explain_header(
    sheet: Sheet, message: Message, sealed: Sealed | None, fault: Fault | None
) -> None:
    """Write down the header's fields; without a parse, those before the fault."""
    content = message.content
    limit = fault.offset if fault and not sealed else len(content)
    length = ber.length(content, TITLE_END)
    body = length[1] if length else TITLE_END
    maker = content[TITLE_START : TITLE_START + MAKER_BYTES]
    is_named = maker.isascii() and maker.isalpha() and maker.isupper()
    security = content[body] if body < len(content) else 0
    counter = int.from_bytes(content[body + 1 : body + 1 + COUNTER_BYTES], "big")
    fields = (
        ("cipher.tag", 1, Change.STATIC, "general-glo-ciphering", ()),
        ("title.length", 2, Change.STATIC, count_of(ciphering.SYSTEM_TITLE_BYTES), ()),
        (
            "title.maker",
            TITLE_START + MAKER_BYTES,
            Change.MODEL if is_named else Change.UNKNOWN,
            maker.decode("ascii") if is_named else "",
            (),
        ),
        ("title.serial", TITLE_END, Change.METER, "", ()),
        ("cipher.length", body, Change.MODEL, count_of(length[0]) if length else "", ()),
        ("cipher.security", body + 1, Change.MODEL, "", _security_notes(security)),
        ("cipher.counter", body + 1 + COUNTER_BYTES, Change.CHANGES, str(counter), ()),
    )
    start = 0
    for name, end, change, value, notes in fields:
        if end > limit:
            return
        place = message.ranges(start, end)
        sheet.field(name, Layer.CIPHERING, 1, place, change, value=value, notes=notes)
        start = end
    if sealed:
        built_of = message.ranges(TITLE_START, TITLE_END) + message.ranges(body + 1, start)
        sheet.built("cipher.nonce", Layer.DECRYPTION, 1, built_of, sealed.nonce)


def _security_notes(security: int) -> tuple[str, ...]:
    is_tagged = security & ciphering.AUTHENTICATED
    return (
        "security.encrypted",
        "security.tagged" if is_tagged else "security.untagged",
        "security.suite_1" if security & ciphering.SUITES else "security.suite_0",
    )


def _explain_body(
    sheet: Sheet, message: Message, sealed: Sealed, secrets: Secrets, *, is_whole: bool
) -> None:
    """Write down ciphertext and tag: opened, if there is a key that opens it."""
    start = sealed.ciphertext_start
    end = start + len(sealed.ciphertext)
    place = message.ranges(start, end)
    available = sum(last - first for first, last in place)
    note = "cipher.no_key"
    if secrets.key:
        # What is not whole has no tag that could be verified.
        opener = Opener(secrets.key, secrets.auth_key if is_whole else None)
        opened = opener.open(sealed)
        if isinstance(opened, Fault):
            sheet.remark(opened.at(message.offset(opened.offset)), 1)
            note = "cipher.refused"
        else:
            plaintext = Plaintext(
                opened[0][:available],
                lambda first, last: message.ranges(start + first, start + last),
                lambda index: message.offset(start + index),
                sealed.system_title,
                is_whole,
            )
            note = explain_plaintext(sheet, plaintext, secrets.layouts, secrets.layout)
    sheet.field(
        "cipher.text",
        Layer.CIPHERING,
        1,
        place,
        Change.CHANGES,
        value=count_of(available),
        notes=(note,),
    )
    if sealed.tag:
        tag_place = message.ranges(end, end + len(sealed.tag))
        sheet.field("cipher.auth_tag", Layer.CIPHERING, 1, tag_place, Change.CHANGES)
