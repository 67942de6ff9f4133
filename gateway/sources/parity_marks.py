"""What a terminal with PARMRK gives, back to bytes and which of them came damaged (termios(3)).

FF FF is a good byte FF, FF 00 X the byte X with a parity or framing error, FF 00 00 also a break.
"""

ESCAPE = b"\xff"
DAMAGED = b"\x00"


class Unmarker:
    """Takes the marks out of one stream, however it is cut. Any bytes are taken, nothing raises."""

    def __init__(self) -> None:
        self._begun = b""  # the start of an escape that the next chunk goes on with

    def feed(self, chunk: bytes) -> tuple[bytes, tuple[int, ...]]:
        """Return the bytes that were on the line, and the indices of the damaged ones in them."""
        marked = self._begun + chunk
        self._begun = b""
        line = bytearray()
        damaged: list[int] = []
        start = 0
        while (escape := marked.find(ESCAPE, start)) >= 0:
            line += marked[start:escape]
            follower, octet = marked[escape + 1 : escape + 2], marked[escape + 2 : escape + 3]
            if not follower or (follower == DAMAGED and not octet):
                self._begun = marked[escape:]
                return bytes(line), tuple(damaged)
            if follower == DAMAGED:
                damaged.append(len(line))
                line += octet
                start = escape + 3
            else:
                # An FF before anything else is no escape: the half of a pair whose other half was
                # flushed, or another program has switched the marks off. Both make it a good FF.
                line += ESCAPE
                start = escape + (2 if follower == ESCAPE else 1)
        line += marked[start:]
        return bytes(line), tuple(damaged)
