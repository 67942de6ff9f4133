"""What Home Assistant's libraries, in an environment of their own, read of a meter."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from .clients import FOREIGN_PYTHON, HAS_TYPED_METERS, IS_MADE
from .served import PATIENCE_S, Endpoint

SCRIPT = Path(__file__).parent / "foreign" / "typed_meter.py"

needs_typed_meters = [
    pytest.mark.skipif(not IS_MADE, reason=".venv-interop is missing: make test"),
    pytest.mark.skipif(
        IS_MADE and not HAS_TYPED_METERS,
        reason="the library needs Python 3.12, and .venv-interop has an older one",
    ),
]


def said(library: str, endpoint: Endpoint, over: str) -> dict[str, Any]:
    """Return model, firmware and all parts of the meter as the library has them."""
    command = [FOREIGN_PYTHON, SCRIPT, library, str(endpoint.port), str(endpoint.unit), over]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=2 * PATIENCE_S
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
