"""What the rows of a group add up to, and all that is done once for a row, for the whole group."""

from typing import Any, NamedTuple

import numpy as np

from ...compiler.bits import disjoint, interleaved, select, window, windows
from ...compiler.flags import unfused
from ..form import Function
from ..row_groups import GROUP, N_DOUBLE_SUMS, N_MOMENTS
from ..scalar import exp_of_minus, log1p_of_sum
from .traits import Traits

# How many rows are finished at a time.
RUN = 16


class Sums(NamedTuple):
    """What the rows of a group add up to: arrays with room for GROUP rows."""

    # In float64, N_DOUBLE_SUMS of them:
    gaps: Any  # the sum of t_j (m - x_j); with a link m - x_y
    masses: Any  # T, where it is not always 1
    # In the arithmetic:
    largest: Any  # m
    capped: Any  # m, capped
    rest: Any  # the sum of e_j over x_j < m
    maxima: Any  # how often x_j = m
    shares: Any  # what smoothing adds to the label of each class
    dots: Any  # the sum of p_j v_j, v being the vector that the Hessian is multiplied by
    rest_dots: Any  # the same over x_j < m
    # Found by `finish`:
    totals: Any  # T, times the slope of the link
    extra: Any  # what the z-loss adds to T
    curvature: Any  # of the link or the z-loss
    probability: Any  # 1 / S
    complement: Any  # 1 - 1 / S
    log_sums: Any  # log(S)
    factor: Any  # what derivatives are multiplied by: 0 for a row that is left out


# Sums in the arithmetic, and the numbers that they take.
_N_NUMBERS = len(Sums._fields) - N_DOUBLE_SUMS
SUMS = _N_NUMBERS * GROUP


def sums_in(numbers: Any, doubles: Any) -> Sums:
    return Sums(*windows(doubles, GROUP, N_DOUBLE_SUMS), *windows(numbers, GROUP, _N_NUMBERS))


class Moments(NamedTuple):
    """What the scores of rows need besides `Sums`: N_MOMENTS arrays with room for GROUP rows."""

    squares: Any  # the sum of e_j^2 over x_j < m
    gaps: Any  # the sum of e_j g_j
    square_gaps: Any  # the sum of e_j g_j^2
    ranks: Any
    predictions: Any  # the first class whose logit is m


def moments_in(numbers: Any, start: Any) -> Moments:
    place = window(numbers, start, N_MOMENTS * GROUP)
    return Moments(*windows(place, GROUP, N_MOMENTS))


class OfRow(NamedTuple):
    """The numbers of one row that its derivatives follow from.

    A derivative needs the mass of its class besides; with a link, only whether it is 0.
    """

    total: Any
    extra: Any
    curvature: Any
    probability: Any
    complement: Any
    log_sum: Any
    dot: Any
    rest_dot: Any
    factor: Any


def row_reader(traits: Traits) -> Function:
    """The function that gives the `OfRow` of row r of a group."""
    z_loss, curved = traits.variant.z_loss, traits.linked or traits.variant.z_loss
    logarithmic, multiplying = traits.logarithmic, traits.multiplying
    zero = traits.form.number(0)

    def of_row(sums: Any, r: Any) -> Any:
        return OfRow(
            sums.totals[r],
            sums.extra[r] if z_loss else zero,
            sums.curvature[r] if curved else zero,
            sums.probability[r],
            sums.complement[r],
            sums.log_sums[r] if logarithmic else zero,
            sums.dots[r] if multiplying else zero,
            sums.rest_dots[r] if multiplying else zero,
            sums.factor[r],
        )

    return of_row


def _no_link(o: Any, loss: Any) -> tuple[Any, Any, Any]:
    return loss, 1.0, 0.0


def finisher(traits: Traits) -> Function:
    """The function that does, when all sums are known, what is done once for a row."""
    writes = traits.form.with_grad
    finish_losses, finish_factors = _losses_finisher(traits), _factors_finisher(traits)

    def finish(o: Any, sums: Any, weights: Any, scale: Any, losses: Any, n_rows: Any) -> None:
        """All that is done once for a row, with SIMD over the group."""
        n = (n_rows + (RUN - 1)) & -RUN
        finish_losses(o, sums, losses, n)
        if writes:
            finish_factors(o, sums, weights, scale, n)

    return finish


def _losses_finisher(traits: Traits) -> Function:
    class_weighted, tempered = traits.variant.class_weighted, traits.variant.tempered
    capped, z_loss = traits.variant.capped, traits.variant.z_loss
    linked, link = traits.linked, traits.variant.link or _no_link
    hessian, unit = traits.variant.hessian, traits.unit_masses
    writes, form_output = traits.form.with_grad, traits.form.output
    number, double = traits.form.number, np.float64
    one, inf = number(1), number(np.inf)

    # Not fused with what follows: the loss has the same bits with and without its gradient.
    @unfused
    def z_terms(o: Any, t: Any, lse: Any) -> Any:
        weight = o.z_loss * t
        return 2.0 * weight, weight * (lse * lse)

    def used(curvature: Any, loss: Any) -> Any:
        """What the Hessian takes of the curvature of the link at a cross-entropy."""
        if hessian == "ones":
            return 1.0
        if hessian == "majorizer":
            # The magnitudes of p_j - [j = y] add up to 2 (1 - p_y).
            power, rest = exp_of_minus(loss)
            return select(curvature > 0.0, curvature, 0.0) * 2.0 * ((1.0 - power) - rest)
        return curvature

    def finish_sums(largest: Any, maxima: Any, rests: Any, log_sums: Any, n: Any) -> None:
        disjoint()
        interleaved()
        for r in range(n):
            rest = rests[r] + (maxima[r] - one)
            # For a row of -inf, and for several +inf, no limit exists but that of the log-sum-exp,
            # which is the largest logit.
            if form_output != "logsumexp":
                several = maxima[r] > one
                undefined = (largest[r] == -inf) | ((largest[r] == inf) & several)
                rest = select(undefined, number(np.nan), rest)
            rests[r] = rest
            log_sums[r] = select(rest == rest, log1p_of_sum(rest), rest)

    def finish_losses(o: Any, sums: Any, losses: Any, n: Any) -> None:
        disjoint()
        # In a loop of its own: beside float64, LLVM takes half of the rows at a time.
        largest = sums.capped if capped else sums.largest
        finish_sums(largest, sums.maxima, sums.rest, sums.log_sums, n)
        for r in range(n):
            rest, log_sum = sums.rest[r], sums.log_sums[r]
            gap, t = sums.gaps[r], 1.0 if unit else sums.masses[r]
            if tempered:
                gap = gap * o.inverse_temperature
            loss = gap + t * double(log_sum)
            if form_output == "logsumexp" or z_loss:
                lse = double(largest[r])
                if tempered:
                    lse = lse * o.inverse_temperature
                lse = lse + double(log_sum)
                if z_loss:
                    slope, added = z_terms(o, t, lse)
                    loss = loss + added
                    if writes:
                        sums.extra[r] = number(slope * lse)
                        sums.curvature[r] = number(slope)
                else:
                    loss = lse
            if linked:
                value, slope, curvature = link(o, gap + double(log_sum))
                loss = t * value
                if writes:
                    sums.totals[r] = number(t * slope)
                    sums.curvature[r] = number(t * used(curvature, gap + double(log_sum)))
            elif writes:  # 1 as well: as a constant it would have loops of a Hessian fuse less
                sums.totals[r] = number(t)
            loss = select(rest == rest, loss, np.nan)  # NaN anywhere in the row is NaN
            if class_weighted:  # its classes weigh nothing: the row is left out
                loss = select(t == 0.0, 0.0, loss)
            losses[r] = loss

    return finish_losses


def _factors_finisher(traits: Traits) -> Function:
    class_weighted, tempered = traits.variant.class_weighted, traits.variant.tempered
    leaving_out, number = traits.leaving_out, traits.form.number
    zero, one = number(0), number(1)

    def finish_factors(o: Any, sums: Any, weights: Any, scale: Any, n: Any) -> None:
        disjoint()
        for r in range(n):
            rest = sums.rest[r]
            inverse = one / (one + rest)
            sums.probability[r] = inverse
            sums.complement[r] = rest * inverse
            factor = weights[r] * scale if leaving_out else scale
            if tempered:
                factor = factor * o.inverse_temperature
            factor = number(factor)
            if leaving_out:
                counts = weights[r] != 0.0
                if class_weighted:
                    counts = counts & (sums.masses[r] != 0.0)
                factor = select(counts, factor, zero)
            sums.factor[r] = factor

    return finish_factors
