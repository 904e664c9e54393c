"""Numbers as json, which has neither NaN nor infinity."""

from __future__ import annotations

import json
import math
from typing import Any


def to_json(value: Any, indent: int | None = None) -> str:
    """Valid json, with null where a number is not finite: a metric that is not defined, or an infinite d'."""
    return json.dumps(_only_finite(value), indent=indent, allow_nan=False)


def _only_finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _only_finite(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_only_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
