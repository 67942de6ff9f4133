"""obisgate maps lint: what is wrong with a map, and where."""

import argparse
from pathlib import Path

from gateway import map_library
from gateway.cli.command import Commands, add_command
from gateway.cli.maps import library
from gateway.located import ConfigError
from gateway.registers.lint import Finding, Severity, finding_of, lint


def add_to(actions: Commands) -> None:
    """Add the action."""
    parser = add_command(
        actions,
        "lint",
        lint_maps,
        "say what is wrong with maps, as file:line:column",
        "  obisgate maps lint my_maps/plc.yaml\n  obisgate maps lint",
    )
    parser.add_argument("maps_named", nargs="*", metavar="NAME|FILE", help="none: all maps")
    library.add_folder(parser)


def lint_maps(options: argparse.Namespace) -> int:
    """Print a line for all that is wrong, and how much that is; 1 if there are errors."""
    names = options.maps_named or sorted(map_library.find(options.maps))
    findings: list[Finding] = []
    # One that cannot be read does not hide what is wrong with the others.
    for path, others in [library.find(name, options.maps) for name in names]:
        for finding in _found(path, others):
            short = finding._replace(file=library.shown(Path(finding.file)))
            if short not in findings:  # maps that are like each other have the same errors
                findings.append(short)
    for finding in findings:
        print(finding)
    errors = sum(finding.severity is Severity.ERROR for finding in findings)
    print(
        f"{_count(len(names), 'map')}: {_count(errors, 'error')}, "
        f"{_count(len(findings) - errors, 'warning')}"
    )
    return 1 if errors else 0


def _found(path: Path, others: Path | None) -> list[Finding]:
    try:
        text = library.text_of(path)
    except ConfigError as problem:
        return [finding_of(str(problem), str(path))]
    return lint(text, str(path), map_library.others(others))


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
