"""What all tests share."""

from collections.abc import Callable, Mapping
from datetime import datetime

import pytest
from hypothesis import settings

from gateway.telegram import Obis, Reading
from gateway.telegram.listing import Entry, Listing, Readings
from gateway.telegram.notification import CosemTime

# A loaded machine pauses for longer than the 200 ms that hypothesis allows an example.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


@pytest.fixture(scope="session")
def readings_of() -> Callable[[Mapping[str, int | float | str | datetime]], Readings]:
    """Build readings by OBIS code, as a decoder would: readings_of({"1-0:1.7.0": 230})."""

    def build(values: Mapping[str, int | float | str | datetime]) -> Readings:
        numbers, texts, entries, clock = [], {}, [], None
        for code, value in values.items():
            obis = Obis.parse(code)
            kind = 0x1800 if isinstance(value, int | float) else 0x090C
            entries.append(Entry(obis, kind, 0, 0))
            if isinstance(value, datetime):
                clock = CosemTime(value, 0)
            elif isinstance(value, str):
                texts[obis] = Reading(value)
            else:
                numbers.append(value)
        return Readings(Listing("built", entries), numbers, texts, clock)

    return build
