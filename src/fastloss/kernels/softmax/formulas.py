"""Softmax of rows of logits x, and losses that follow from it: the formulas.

With m the largest logit, e_j = exp((x_j - m) / temperature), S = sum of e_j and rest = S - 1, which
is summed without the 1 and so keeps its digits when the model is confident, the cross-entropy with
target masses t, T = sum of t_j, is

    loss       = sum of t_j (m - x_j) / temperature + T log1p(rest)
    gradient_j = (T e_j / S - t_j) / temperature
    hessian_j  = T p_j (1 - p_j) / temperature^2,           p_j = e_j / S

The mass of a class is its class weight times its label, the label being smoothed if asked; a mean
is over the masses without smoothing. What options add: logits are capped first, c(x) = softcap
tanh(x / softcap), and derivatives follow by the chain rule; a class that is masked out has a logit
of -inf and no mass; the z-loss z T log(sum of exp(x_j))^2 adds 2 z T log(...) to the T that
probabilities are multiplied by; and with a link f the loss of a class id is f(cross-entropy), as of
the focal loss.

The loops are in `long_rows.py`, for rows of many classes, and in `short_rows.py`, for few. Both
compute a group of rows in four steps: the largest number of each row; what each row adds up to
(`Sums`); all that is done once for a row, for the whole group (`finish`); what is written for each
class.
"""

from typing import Any, NamedTuple

import numpy as np

from ...compiler.bits import disjoint, select, windows
from ...compiler.flags import unfused
from ..form import Form, Function
from ..row_groups import GROUP
from ..scalar import exp_of_minus, lift_unit, lifted_exp_of_gap, log1p

# Rows are finished so many at a time.
RUN = 16


class Variant(NamedTuple):
    """The options that a kernel is compiled for: one that is not used costs nothing."""

    class_weighted: bool = False
    smoothed: bool = False
    class_masked: bool = False  # for all rows; masks of single rows are in the form
    tempered: bool = False
    capped: bool = False
    z_loss: bool = False
    hessian_scaled: bool = False
    hessian_of_residual: bool = False
    hessian_floored: bool = False
    # From the cross-entropy of a class id to the loss: `link(options, loss)` returns the value and
    # its first two derivatives, in float64.
    link: Function | None = None
    # What the kernel is told at each call besides what all losses of rows tell.
    options: tuple[str, ...] = ()

    def known_to(self, form: Form) -> "Variant":
        """What matters in a form: where there are no labels, no option of the loss itself."""
        if form.labelled:
            return self
        return self._replace(
            class_weighted=False,
            smoothed=False,
            z_loss=False,
            hessian_scaled=False,
            hessian_floored=False,
            link=None,
        )


class Sums(NamedTuple):
    """What the rows of a group add up to: arrays with room for GROUP rows."""

    # In float64:
    gaps: Any  # the sum of t_j (m - x_j); with a link m - x_y
    masses: Any  # T
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


# The numbers that they take, besides two runs of float64.
_N_NUMBERS = len(Sums._fields) - 2
SUMS = _N_NUMBERS * GROUP


class OfRow(NamedTuple):
    """The numbers of one row that its derivatives follow from.

    With them goes the mass of each class, where a link makes that of the label any other than 0.
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


class Formulas(NamedTuple):
    """What is computed for one class of one row, and for all rows of a group."""

    # Of one class:
    inside: Function
    cap: Function
    scaled_gap: Function
    exp_terms: Function
    gap_term: Function
    finite_gap_term: Function
    mass: Function
    output: Function
    # Of a group:
    sums_in: Function
    of_row: Function
    finish: Function


def _no_link(o: Any, loss: Any) -> tuple[Any, Any, Any]:
    return loss, 1.0, 0.0


def formulas(form: Form, variant: Variant) -> Formulas:
    """What is computed for one class of one row, and once for a row."""
    class_weighted, smoothed = variant.class_weighted, variant.smoothed
    class_masked, row_masked = variant.class_masked, bool(form.mask)
    masked = class_masked or row_masked
    tempered, capped, z_loss = variant.tempered, variant.capped, variant.z_loss
    hessian_scaled, hessian_floored = variant.hessian_scaled, variant.hessian_floored
    hessian_of_residual = variant.hessian_of_residual
    linked, link = variant.link is not None, variant.link or _no_link
    form_output = form.output
    curved = linked or z_loss
    number, double = form.number, np.float64
    writes = form.with_grad
    zero, one, two, half, inf = number(0), number(1), number(2), number(0.5), number(np.inf)
    unit = number(lift_unit(number))

    # -----------------------------------------------------------------------------------------
    # Of one class

    def inside(of_class: Any, of_row: Any) -> Any:
        """Whether a class is in, from the number in the mask for all rows and that for its row."""
        here = True
        if class_masked:
            here = of_class != 0
        if row_masked:
            here = here & (of_row != 0)
        return here

    # Not fused with what follows, in which it may differ from one place to the other.
    @unfused
    def cap(o: Any, x_j: Any) -> Any:
        """softcap * tanh(x_j / softcap) and its first two derivatives."""
        if not capped:
            return x_j, one, zero
        size = abs(x_j) * number(o.inverse_softcap)
        power, rest = exp_of_minus(size + size)
        e = power + rest
        inverse = one / (one + e)
        tanh = ((one - power) - rest) * inverse
        tanh = select(x_j < zero, -tanh, tanh)
        slope = (e * inverse) * (inverse + inverse) * two
        return (
            number(o.softcap) * tanh,
            slope,
            -two * number(o.inverse_softcap) * tanh * slope,
        )

    def scaled_gap(o: Any, x_j: Any, largest: Any) -> Any:
        """(x_j - m) / temperature."""
        gap = x_j - largest
        if tempered:
            gap = gap * number(o.inverse_temperature)
        return gap

    def exp_terms(o: Any, x_j: Any, largest: Any, is_largest: Any) -> Any:
        """e_j, what class j adds to `rest`, lifted, and 1 if it is not among the largest.

        A largest logit gets e = 1 by definition, so that +inf - inf is never asked for. To count
        the others takes an instruction less than to count the maxima, as they have the mask of the
        rest; to lower a sum takes one less than to lower each of its terms.
        """
        lifted = lifted_exp_of_gap(scaled_gap(o, x_j, largest))
        return (
            select(is_largest, one, lifted * unit),
            select(is_largest, zero, lifted),
            select(is_largest, zero, one),
        )

    def mass(o: Any, label: Any, weight: Any, here: Any, share: Any) -> Any:
        """t_j, from the label and the weight of class j."""
        if smoothed:
            label = number(1.0 - o.smoothing) * label + share
        if class_weighted:
            label = number(weight) * label
        if masked:
            label = select(here, label, zero)
        return label

    def gap_term(t: Any, x_j: Any, largest: Any, is_largest: Any) -> Any:
        """t_j (m - x_j); a mass of 0 takes nothing even of an infinite gap."""
        gap = select(is_largest, zero, largest - x_j)
        return select(t == zero, zero, t * gap)

    def finite_gap_term(t: Any, x_j: Any, largest: Any, is_largest: Any) -> Any:
        """The same where it is finite, for less; else infinite or NaN."""
        return t * (largest - x_j)

    # Not fused: beside the Hessian LLVM fuses it for soft labels, and not for class ids.
    @unfused
    def exact_excess(t: Any, row: Any) -> Any:
        """Of a class with p = 1 - complement."""
        total = row.total
        if z_loss:
            return (total - t) + (row.extra - (total + row.extra) * row.complement)
        return (total - t) - total * row.complement

    def derivatives(o: Any, exp_j: Any, t: Any, slope: Any, bend: Any, row: Any) -> Any:
        """Gradient and Hessian, times the factor of the row."""
        p = exp_j * row.probability
        total = row.total
        at_label = t != zero
        if linked:
            t = select(at_label, total, zero)
        # 1 - p of a class with p > 1/2, without subtracting: the gradient of a confident row keeps
        # its digits as its loss does.
        confident = (exp_j == one) & (row.complement < half)
        exact = exact_excess(t, row)
        if z_loss:
            total = total + row.extra
        excess = select(confident & at_label, exact, exp_j * (total * row.probability) - t)
        if z_loss:  # where 0 meets an infinite sum
            excess = select(exp_j == zero, -t, excess)
        q = select(confident, row.complement, one - p)
        hess = total * (p * q)
        if hessian_scaled:
            hess = number(o.hessian_scale) * hess
        if hessian_of_residual:
            hess = abs(excess)
        if linked:
            # p_j - [j = y]. Its square would underflow where a large curvature makes up for it.
            away = select(at_label, q, p)
            hess = hess + (row.curvature * away) * away
        elif z_loss:
            hess = hess + (row.curvature * p) * p
        if tempered:
            hess = hess * number(o.inverse_temperature)
        if capped:
            hess = hess * (slope * slope) + excess * bend
            excess = excess * slope
        hess = row.factor * hess
        if hessian_floored:
            hess = select(hess < number(o.hessian_floor), number(o.hessian_floor), hess)
        return row.factor * excess, hess

    def hessian_times(o: Any, exp_j: Any, t: Any, slope: Any, bend: Any, v_j: Any, row: Any) -> Any:
        """Element j of the Hessian times v, times the factor of the row."""
        p = exp_j * row.probability
        total = row.total
        if z_loss:
            total = total + row.extra
        bent = bend * v_j
        v_j = v_j * slope
        # As 1 - p of a class with p > 1/2 above: what is left of v_j is the complement's.
        confident = (exp_j == one) & (row.complement < half)
        gap = select(confident, row.complement * v_j - row.rest_dot, v_j - row.dot)
        product = total * (p * gap)
        if z_loss:
            product = product + row.curvature * (p * row.dot)
        if tempered:
            product = product * number(o.inverse_temperature)
        if capped:
            excess = select(confident & (t != zero), exact_excess(t, row), total * p - t)
            product = product * slope + excess * bent
        return row.factor * product

    def output(o: Any, kept_j: Any, t: Any, slope: Any, bend: Any, v_j: Any, row: Any) -> Any:
        """What is written for a class, and its Hessian; `kept_j` is e_j, or (x_j - m) / temperature
        where logarithms are asked for.
        """
        if form_output == "proba":
            return kept_j * row.probability, zero
        if form_output == "log_proba":
            return kept_j - row.log_sum, zero
        if form_output == "hvp":
            return hessian_times(o, kept_j, t, slope, bend, v_j, row), zero
        return derivatives(o, kept_j, t, slope, bend, row)

    # -----------------------------------------------------------------------------------------
    # Of a group of rows

    def sums_in(numbers: Any, doubles: Any) -> Any:
        return Sums(*windows(doubles, GROUP, 2), *windows(numbers, GROUP, _N_NUMBERS))

    def of_row(sums: Any, r: Any) -> Any:
        return OfRow(
            sums.totals[r],
            sums.extra[r] if z_loss else zero,
            sums.curvature[r] if curved else zero,
            sums.probability[r],
            sums.complement[r],
            sums.log_sums[r] if form_output == "log_proba" else zero,
            sums.dots[r] if form_output == "hvp" else zero,
            sums.rest_dots[r] if form_output == "hvp" else zero,
            sums.factor[r],
        )

    def finish(o: Any, sums: Any, weights: Any, scale: Any, losses: Any, n_rows: Any) -> None:
        """All that is done once for a row, with SIMD over the group."""
        n = (n_rows + (RUN - 1)) & -RUN
        finish_losses(o, sums, losses, n)
        if writes:
            finish_factors(o, sums, weights, scale, n)

    # Not fused with what follows: the loss has the same bits with and without its gradient.
    @unfused
    def z_terms(o: Any, t: Any, lse: Any) -> Any:
        weight = o.z_loss * t
        return 2.0 * weight, weight * (lse * lse)

    def finish_losses(o: Any, sums: Any, losses: Any, n: Any) -> None:
        disjoint()
        # In a loop of its own: beside float64, LLVM takes half of the rows at a time.
        for r in range(n):
            largest = sums.capped[r] if capped else sums.largest[r]
            maxima = sums.maxima[r]
            rest = sums.rest[r] + (maxima - one)
            # For a row of -inf, and for several +inf, no limit exists but that of the log-sum-exp,
            # which is the largest.
            if form_output != "logsumexp":
                undefined = (largest == -inf) | ((largest == inf) & (maxima > one))
                rest = select(undefined, number(np.nan), rest)
            sums.rest[r] = rest
            sums.log_sums[r] = log1p(rest)
        for r in range(n):
            largest = sums.capped[r] if capped else sums.largest[r]
            rest, log_sum = sums.rest[r], sums.log_sums[r]
            gap, t = sums.gaps[r], sums.masses[r]
            if tempered:
                gap = gap * o.inverse_temperature
            loss = gap + t * double(log_sum)
            if form_output == "logsumexp" or z_loss:
                lse = double(largest)
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
                    sums.curvature[r] = number(t * curvature)
            elif writes:
                sums.totals[r] = number(t)
            loss = select(rest == rest, loss, np.nan)  # NaN anywhere in the row is NaN
            if class_weighted:  # its classes weigh nothing: the row is left out
                loss = select(t == 0.0, 0.0, loss)
            losses[r] = loss

    def finish_factors(o: Any, sums: Any, weights: Any, scale: Any, n: Any) -> None:
        disjoint()
        for r in range(n):
            rest = sums.rest[r]
            inverse = one / (one + rest)
            sums.probability[r] = inverse
            sums.complement[r] = rest * inverse
            counts = weights[r] != 0.0
            if class_weighted:
                counts = counts & (sums.masses[r] != 0.0)
            factor = weights[r] * scale
            if tempered:
                factor = factor * o.inverse_temperature
            sums.factor[r] = select(counts, number(factor), zero)

    return Formulas(
        inside=inside,
        cap=cap,
        scaled_gap=scaled_gap,
        exp_terms=exp_terms,
        gap_term=gap_term,
        finite_gap_term=finite_gap_term,
        mass=mass,
        output=output,
        sums_in=sums_in,
        of_row=of_row,
        finish=finish,
    )
