"""The project's known answers (spec/vectors), and what tests make of them."""

import json
import pathlib
from typing import Any

_FOLDER = pathlib.Path(__file__).parents[3] / "spec" / "vectors"


def read(name: str) -> list[dict[str, Any]]:
    cases = json.loads((_FOLDER / name).read_text())
    assert isinstance(cases, list) and cases
    return cases
