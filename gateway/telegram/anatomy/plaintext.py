"""The decrypted notification, written down: its header, its list, what the list lacks."""

from collections.abc import Sequence

from gateway.telegram import axdr, layouts, notification
from gateway.telegram.anatomy.elements import explain_list
from gateway.telegram.anatomy.field import Change, Sheet, count_of
from gateway.telegram.anatomy.writer import Plaintext, Writer
from gateway.telegram.axdr import Outline
from gateway.telegram.fault import Fault, Layer
from gateway.telegram.layouts import Layout
from gateway.telegram.notification import Header

INVOKE_ID_END = notification.HEADER_BYTES
NULL = bytes([axdr.NULL])


def explain_plaintext(
    sheet: Sheet, plaintext: Plaintext, known: Sequence[Layout], layout: Layout | None
) -> str:
    """Write down a plaintext as far as it goes; return the note on what is left of it."""
    octets = plaintext.octets
    header, fault = _header(octets)
    if fault:
        _remark(sheet, plaintext, fault)
    if header is None:
        return "cipher.noise" if plaintext.is_whole else "cipher.cut"
    sheet.group(
        "plaintext",
        Layer.DECRYPTION,
        1,
        plaintext.ranges(0, len(octets)),
        value=count_of(len(octets)),
    )
    writer = Writer(sheet, plaintext)
    _explain_header(writer, header)
    outline, damage = outline_up_to_damage(octets, header.body_start)
    listing = None if damage else layouts.recognise(outline, plaintext.system_title, known, layout)
    explain_list(writer, outline, None if isinstance(listing, Fault) else listing)
    damage = damage or (listing if isinstance(listing, Fault) else None)
    if damage is None and listing is not None and not isinstance(listing, Fault):
        readings = listing.read(octets)
        damage = readings if isinstance(readings, Fault) else None
    if damage and not fault:
        _remark(sheet, plaintext, damage)
    return "cipher.cut" if not plaintext.is_whole else "cipher.damage"


def outline_up_to_damage(octets: bytes, start: int) -> tuple[Outline, Fault | None]:
    """Outline a value; of a damaged one all before the damage, and the fault.

    What is missing behind the damage is taken to be null, so that the decoder's own outline
    reads it; it is cut off again.
    """
    found = axdr.outline(octets, start)
    if isinstance(found, Outline):
        return found, None
    sound = octets[: found.offset]
    # No list is longer than MAX_COUNT and none is shorter than two bytes: so many nulls are
    # enough, and the outline says how many of them were too many.
    nulls = axdr.MAX_COUNT * (len(sound) - start + 1)
    padded = sound + NULL * nulls
    surplus = axdr.outline(padded, start)
    again = axdr.outline(padded[: surplus.offset], start) if isinstance(surplus, Fault) else surplus
    if isinstance(again, Fault):
        return Outline(octets, [start]), found
    count = sum(at < found.offset for at in again.starts[:-1])
    starts = [*again.starts[:count], found.offset]
    # The last element may lack its length, which counts as 0.
    return Outline(octets + NULL, starts), found


def _header(octets: bytes) -> tuple[Header | None, Fault | None]:
    """Read the header; if only its clock is wrong, also the places of all else."""
    header = notification.header(octets)
    if isinstance(header, Header):
        return header, None
    for start in (notification.HEADER_BYTES + 1, notification.HEADER_BYTES + 2):
        behind = start + notification.DATE_TIME_BYTES
        unset = octets[:start] + b"\xff" * notification.DATE_TIME_BYTES + octets[behind:]
        again = notification.header(unset)
        if isinstance(again, Header) and again.time_start == start:
            return again, header
    return None, header


def _explain_header(writer: Writer, header: Header) -> None:
    layer = Layer.STRUCTURE
    writer.field("notification.tag", layer, 2, 0, 1, Change.STATIC, "DataNotification")
    invoke_id = int.from_bytes(writer.octets[1:INVOKE_ID_END], "big")
    writer.field(
        "notification.invoke_id", layer, 2, 1, INVOKE_ID_END, Change.CHANGES, str(invoke_id)
    )
    if header.time_start is None:
        writer.field(
            "notification.no_time", layer, 2, INVOKE_ID_END, header.body_start, Change.MODEL
        )
        return
    time = header.time.moment if header.time else None
    writer.sheet.group(
        "notification.time",
        layer,
        2,
        writer.ranges(INVOKE_ID_END, header.body_start),
        change=Change.CHANGES,
        value=time.isoformat(" ") if time else "",
    )
    writer.field("notification.time_tag", layer, 3, INVOKE_ID_END, header.time_start, Change.MODEL)
    writer.clock(header.time_start, 3, layer)


def _remark(sheet: Sheet, plaintext: Plaintext, fault: Fault) -> None:
    """Add the decoder's fault; of a message that is cut, that it is so was said before."""
    if plaintext.is_whole:
        sheet.remark(fault.at(plaintext.offset(fault.offset)), 1)
