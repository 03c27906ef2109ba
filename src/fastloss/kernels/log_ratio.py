"""Functions of d, the logarithm of a ratio p / q of probabilities that are close: |d| <= 1.

All keep their digits as d goes to 0. Each is a polynomial in d**2 for float32 and one for float64,
minimax on [0, 1] but for its rounding, times a power of d.
"""

from typing import Any

import numpy as np

from ..compiler.bits import ByPrecision

single = np.float32


def _half_cosh_sinh_f32(d: Any) -> Any:
    z = d * d
    cosh = (single(2.1895893e-5) * z + single(0.00260404496)) * z
    sinh = (single(1.56089749e-6) * z + single(0.000260409911)) * z
    return (
        (cosh + single(0.125000024)) * z + single(1.0),
        ((sinh + single(0.0208333347)) * z + single(0.5)) * d,
    )


def _half_cosh_sinh_f64(d: Any) -> Any:
    """cosh(d / 2) and sinh(d / 2)."""
    z = d * d
    cosh = (5.12142297057055694e-13 * z + 2.69111066319069523e-10) * z + 9.68812027016402172e-8
    cosh = ((cosh * z + 2.17013888888820497e-5) * z + 2.60416666666680115e-3) * z
    sinh = (1.96851652448795738e-14 * z + 1.22323621955515345e-11) * z + 5.3822889877322584e-9
    sinh = ((sinh * z + 1.55009920632232269e-6) * z + 2.60416666666671148e-4) * z
    return (
        (cosh + 0.124999999999999992) * z + 1.0,
        ((sinh + 2.08333333333333331e-2) * z + 0.5) * d,
    )


half_cosh_sinh = ByPrecision("half_cosh_sinh", _half_cosh_sinh_f32, _half_cosh_sinh_f64)


def _half_tanh_f32(d: Any) -> Any:
    z = d * d
    lag = (single(-3.39010828e-6) * z + single(4.19349278e-5)) * z + single(-0.000421355228)
    lag = ((lag * z + single(0.00416663305)) * z + single(-0.041666666)) * (z * d)
    return single(0.5) * d + lag, lag


def _half_tanh_f64(d: Any) -> Any:
    """tanh(d / 2) = (p - q) / (p + q), and how much it is more than d / 2."""
    z = d * d
    lag = (-2.7362471405669843e-12 * z + 4.20550360953572482e-11) * z - 4.50808797724461431e-10
    lag = ((lag * z + 4.49727433708336262e-9) * z - 4.44262943684566463e-8) * z
    lag = ((lag + 4.38491430291732237e-7) * z - 4.32775156184528046e-6) * z
    lag = ((lag + 4.27138447770851519e-5) * z - 4.21626984125701205e-4) * z
    lag = ((lag + 4.16666666666663466e-3) * z - 4.16666666666666665e-2) * (z * d)
    return 0.5 * d + lag, lag


half_tanh = ByPrecision("half_tanh", _half_tanh_f32, _half_tanh_f64)


def _divergence_from_mean_f32(d: Any) -> Any:
    z = d * d
    h = (single(1.49881641e-5) * z + single(-0.000180947788)) * z + single(0.0017348855)
    return ((h * z + single(-0.0156248484)) * z + single(0.124999997)) * z


def _divergence_from_mean_f64(d: Any) -> Any:
    """(p log(p / m) + q log(q / m)) / (p + q), with m = (p + q) / 2.

    With t = tanh(d / 2) it is ((1 + t) log(1 + t) + (1 - t) log(1 - t)) / 2, about d**2 / 8.
    """
    z = d * d
    h = (1.28613107245355067e-11 * z - 1.97011392423397308e-10) * z + 2.10073518452171354e-9
    h = ((h * z - 2.08056800809445288e-8) * z + 2.03575060100997554e-7) * z
    h = ((h - 1.98354927745289734e-6) * z + 1.92212293951817187e-5) * z
    h = ((h - 1.84461805460701831e-4) * z + 1.73611111110505486e-3) * z
    return ((h - 1.56249999999998489e-2) * z + 0.124999999999999999) * z


divergence_from_mean = ByPrecision(
    "divergence_from_mean", _divergence_from_mean_f32, _divergence_from_mean_f64
)
