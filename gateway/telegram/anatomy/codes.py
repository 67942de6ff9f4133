"""Which OBIS codes name what electricity meters measure, and are no other six bytes.

In a list that nobody knows, a meter number or a customer's name of six bytes looks like a code.
So a code counts as one only if it is built as the Blue Book builds those of electricity meters
(6.2 and 6.3): small groups throughout, which no text and hardly a number has. A real code that is
none of these is taken for a value.
"""

from gateway.telegram.obis import NAMED_TEXTS, Obis

CURRENT_VALUE = 255  # group F of every code that these meters send
ABSTRACT, ELECTRICITY = 0, 1  # group A
CHANNELS = range(7)  # group B
TARIFFS = range(5)  # group E
QUANTITIES = range(1, 100)  # group C: power, current, voltage … in all and by phase
# Group D: minima, maxima and averages, the value now, and what was counted since ever.
PROCESSINGS = (2, 3, 4, 5, 6, 7, 8, 9, 29)
# Groups C and D of what any meter has: clock, tariff in use, breaker, meters behind it, push
# setup, device name, its numbers, states, messages, tariff texts, power failures.
ABSTRACTS = frozenset(
    (
        *((1, 0), (17, 0), (24, 1), (24, 2), (24, 4), (25, 9), (42, 0)),
        *((96, 1), (96, 3), (96, 5), (96, 7), (96, 13), (96, 14)),
        *((97, 97), (98, 1), (99, 1), (99, 97)),
    )
)
MAX_ABSTRACT_E = 10


def is_public(code: Obis) -> bool:
    """Tell a code that any meter may send from six bytes that may be this meter's own."""
    if code in NAMED_TEXTS:
        return True
    if code.f != CURRENT_VALUE or code.b not in CHANNELS:
        return False
    if code.a == ABSTRACT:
        return (code.c, code.d) in ABSTRACTS and code.e <= MAX_ABSTRACT_E
    is_measured = code.c in QUANTITIES and code.d in PROCESSINGS
    return code.a == ELECTRICITY and is_measured and code.e in TARIFFS
