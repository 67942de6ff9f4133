"""obisgate maps: list the register maps, show, check and compare them, start one's own."""

from gateway.cli.command import Commands
from gateway.cli.maps import diff, lint, listing, new, show


def add_to(commands: Commands) -> None:
    """Add the command and what stands behind it."""
    actions = listing.add_to(commands)
    for action in (show, lint, diff, new):
        action.add_to(actions)
