"""What a sensor makes of the truth: noise, resolution, span."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sensors.device import Point


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Standard deviation of the noise (absolute in SI, of the span, of the reading) and resolution (SI, of the span).

    The figures are those of usual field instruments, assumed: accuracy classes are stated as bounds, taken here as
    two standard deviations, and drift is left out.
    """

    noise: float = 0.0
    noise_of_span: float = 0.0
    noise_of_reading: float = 0.0
    resolution: float = 0.0
    resolution_of_span: float = 0.0


ACCURACY: Mapping[str, Accuracy] = {
    "pressure": Accuracy(noise_of_span=0.0005, resolution_of_span=0.0001),  # class 0.1 transmitter
    "flow": Accuracy(noise_of_reading=0.005, noise_of_span=0.0005, resolution_of_span=0.0001),  # electromagnetic, 1 %
    "velocity": Accuracy(noise=0.01, noise_of_reading=0.01, resolution=0.001),
    "level": Accuracy(noise=0.002, resolution=0.001),  # ultrasonic, ±5 mm
    "combustible_gas": Accuracy(noise=0.002, resolution=0.001),  # catalytic, 0.1 %LEL shown
    "methane": Accuracy(noise=0.0001, resolution=0.0001),  # laser, 0.01 %vol shown
    "hydrogen_sulfide": Accuracy(noise=0.1e-6, resolution=0.1e-6),
    "oxygen": Accuracy(noise=0.0005, resolution=0.001),
    "temperature": Accuracy(noise=0.05, resolution=0.1),
    "conductivity": Accuracy(noise_of_reading=0.005, resolution=1e-4),
    "turbidity": Accuracy(noise=0.01, noise_of_reading=0.01, resolution=0.001),
    "free_chlorine": Accuracy(noise=5e-6, noise_of_reading=0.01, resolution=1e-6),
    "ph": Accuracy(noise=0.01, resolution=0.01),
    "tilt": Accuracy(noise=0.001, resolution=0.001),
    "battery": Accuracy(noise=0.002, resolution=0.001),
}
"""By quantity; what is not named (contacts, states, rain) is shown as it is."""

_EXACT = Accuracy()


def measured(truth: float, point: Point, rng: np.random.Generator) -> float:
    """Return what a sensor at `point` shows for `truth`, both SI: with noise, in steps, within its span."""
    accuracy = ACCURACY.get(point.quantity, _EXACT)
    span = 0.0 if point.low is None or point.high is None else point.high - point.low
    noise = math.hypot(accuracy.noise, accuracy.noise_of_span * span, accuracy.noise_of_reading * truth)
    step = max(accuracy.resolution, accuracy.resolution_of_span * span)
    shown = truth + noise * float(rng.standard_normal())
    if step:
        shown = round(shown / step) * step
    if point.low is not None:
        shown = max(shown, point.low)
    if point.high is not None:
        shown = min(shown, point.high)
    return shown
