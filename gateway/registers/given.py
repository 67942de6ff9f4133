"""What a map cannot know: the house it stands in, and which of its meters this one is."""

from dataclasses import dataclass

from gateway.snapshot.plausibility import DEFAULT_CONNECTION_A, NOMINAL_VOLTAGE_V

HEADROOM = 1.25  # a fuse lets a quarter more pass for an hour


def rated_power_w(connection_a: float) -> float:
    """Return the power of a three-phase house connection that is fused with `connection_a`."""
    return 3 * NOMINAL_VOLTAGE_V * connection_a


@dataclass(frozen=True, slots=True)
class Given:
    """What the user gives for one emulated meter, and what tells it from others.

    `base` is where the map's first register lies, None: where the map says. `serial` is the
    serial number, None: that of the smart meter; from the second `copy` of a meter on a number
    is appended, for some clients refuse two meters with one serial number. `unit_id` is None
    where every id is answered.
    """

    base: int | None = None
    rated_power_w: float = rated_power_w(DEFAULT_CONNECTION_A)
    serial: str | None = None
    copy: int = 1
    unit_id: int | None = None


NOTHING_GIVEN = Given()
