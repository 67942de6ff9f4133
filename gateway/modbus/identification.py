"""Who the emulated meter says it is: functions 43/14 and 17. Pure.

Clauses are those of the Modbus Application Protocol 1.1b3.
"""

from gateway.registers import ExceptionCode, Identity

READ_DEVICE_IDENTIFICATION = 0x0E
BASIC, REGULAR, EXTENDED, ONE_OBJECT = 1, 2, 3, 4
BASIC_STREAM_AND_ONE = 0x81  # conformity level: three objects, all at once or one alone
RUNS = 0xFF


def identification(pdu: bytes, identity: Identity) -> bytes | ExceptionCode:
    """Answer function 43 (6.21): vendor, product code and revision, objects 0 to 2."""
    if len(pdu) < 2 or pdu[1] != READ_DEVICE_IDENTIFICATION:
        return ExceptionCode.ILLEGAL_FUNCTION
    if len(pdu) != 4:
        return ExceptionCode.ILLEGAL_DATA_VALUE
    code, asked = pdu[2:]
    objects = [identity.vendor, identity.product, identity.revision]
    if code == ONE_OBJECT:
        if asked >= len(objects):
            return ExceptionCode.ILLEGAL_DATA_ADDRESS
        shown = [(asked, objects[asked])]
    elif code in (BASIC, REGULAR, EXTENDED):
        # An object that is not there starts the list again from the first.
        first = asked if asked < len(objects) else 0
        shown = list(enumerate(objects))[first:]
    else:
        return ExceptionCode.ILLEGAL_DATA_VALUE
    head = bytes((pdu[0], pdu[1], code, BASIC_STREAM_AND_ONE, 0, 0, len(shown)))
    texts = [(number, text.encode("ascii")) for number, text in shown]
    return head + b"".join(bytes((number, len(text))) + text for number, text in texts)


def server_id(pdu: bytes, text: str) -> bytes | ExceptionCode:
    """Answer function 17 (6.13): a text as server id, and that the meter runs."""
    if len(pdu) != 1:
        return ExceptionCode.ILLEGAL_DATA_VALUE
    octets = text.encode("ascii") + bytes((RUNS,))
    return bytes((pdu[0], len(octets))) + octets
