"""What a measurement yields: named values with units, and the aim, if there is one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any

from bench.suite import Suite


@dataclass(frozen=True)
class Figure:
    name: str
    value: float
    unit: str
    aim: str = ""
    samples: int = 1
    note: str = ""


Measurement = Callable[[Suite], list[Figure]]


def p50(values: Sequence[float]) -> float:
    return median(values)


def p99(values: Sequence[float]) -> float:
    """The 99th percentile; of fewer than 100 values, close to the largest."""
    return quantiles(values, n=100, method="inclusive")[98] if len(values) > 1 else values[0]


def as_json(figure: Figure) -> dict[str, Any]:
    return {
        "name": figure.name,
        "value": round(figure.value, 3),
        "unit": figure.unit,
        "aim": figure.aim,
        "samples": figure.samples,
        "note": figure.note,
    }
