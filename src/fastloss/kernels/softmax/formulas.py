"""Softmax of rows of logits x, and losses that follow from it: the formulas.

With m the largest logit, e_j = exp((x_j - m) / temperature), S = sum of e_j and rest = S - 1, the
cross-entropy with target masses t, T = sum of t_j, is

    loss       = sum of t_j (m - x_j) / temperature + T log1p(rest)
    gradient_j = (T e_j / S - t_j) / temperature
    hessian_j  = T p_j (1 - p_j) / temperature^2,           p_j = e_j / S

The rest is summed without the 1, and so keeps its digits when the model is confident. The mass of a
class is its class weight times its label, the label being smoothed if asked; a mean is over the
masses without smoothing. What options add: logits are capped first, c(x) = softcap
tanh(x / softcap), and derivatives follow by the chain rule; a class that is masked out has a logit
of -inf and no mass; the z-loss z T log(sum of exp(x_j))^2 adds 2 z T log(...) to the T that
probabilities are multiplied by; and with a link f the loss of a class id is f(cross-entropy), as of
the focal loss.

The loops are in `long_rows.py`, for rows of many classes, and in `short_rows.py`, for few. Both
compute a group of rows in four steps: the largest number of each row; what each row adds up to
(`Sums`); all that is done once for a row, for the whole group (`finisher`); what is written for
each class. What they share is here, for one class, and in `group_sums.py`, for one row.
"""

from typing import Any, NamedTuple

from ...compiler.bits import select
from ...compiler.flags import unfused
from ..form import Function
from ..scalar import exp_of_minus, gap_exponential
from .traits import Traits


class Logits(NamedTuple):
    """Functions of one logit and its masks."""

    inside: Function
    cap: Function


def logits(traits: Traits) -> Logits:
    class_masked, row_masked = traits.variant.class_masked, traits.row_masked
    capped, number = traits.variant.capped, traits.form.number
    zero, one, two = number(0), number(1), number(2)

    def inside(of_class: Any, of_row: Any) -> Any:
        """Whether a class is in, from the number in the mask for all rows and that for its row."""
        here = True
        if class_masked:
            here = of_class != 0
        if row_masked:
            here = here & (of_row != 0)
        return here

    # Not fused with what follows, as LLVM might fuse it in one place and not in another.
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

    return Logits(inside, cap)


class Exponentials(NamedTuple):
    """Functions of one logit and the largest of its row, with constants asked for before a loop."""

    constants: Function
    gap_in_reach: Function
    exp_terms: Function


def exponentials(traits: Traits) -> Exponentials:
    tempered, logarithmic = traits.variant.tempered, traits.logarithmic
    number = traits.form.number
    zero = number(0)
    constants, in_reach, factors = gap_exponential(number)

    def scaled_gap(o: Any, x_j: Any, largest: Any) -> Any:
        """(x_j - m) / temperature."""
        gap = x_j - largest
        if tempered:
            gap = gap * number(o.inverse_temperature)
        return gap

    def gap_in_reach(o: Any, x_j: Any, largest: Any, c: Any) -> Any:
        """The same, but no less than where exponentials become 0: of -inf, too."""
        return in_reach(scaled_gap(o, x_j, largest), c)

    def exp_terms(o: Any, x_j: Any, largest: Any, is_largest: Any, c: Any) -> Any:
        """What is kept of class j, and the two factors of what it adds to `rest`, lifted.

        Kept is what outputs follow from: e_j, or log(e_j) where logarithms are asked for.

        A largest logit gets e = 1 by definition, and adds nothing: so +inf - inf is never asked
        for. (The power that comes of its NaN is 0, as the low bits of a NaN are.) To lower a sum
        takes one instruction less than to lower each of its terms.
        """
        factor, power = factors(gap_in_reach(o, x_j, largest, c), c)
        factor = select(is_largest, zero, factor)
        if logarithmic:
            return select(is_largest, zero, scaled_gap(o, x_j, largest)), factor, power
        return select(is_largest, c.one, factor * power * c.gap_unit), factor, power

    return Exponentials(constants, gap_in_reach, exp_terms)


class Masses(NamedTuple):
    """Functions of the label of one class."""

    mass: Function
    gap_term: Function
    finite_gap_term: Function


def masses(traits: Traits) -> Masses:
    class_weighted, smoothed = traits.variant.class_weighted, traits.variant.smoothed
    masked, number = traits.masked, traits.form.number
    zero = number(0)

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
        """The same in fewer instructions where it is finite; elsewhere infinite or NaN."""
        return t * (largest - x_j)

    return Masses(mass, gap_term, finite_gap_term)


# ---------------------------------------------------------------------------------------------
# What is written for a class


def output_formula(traits: Traits) -> Function:
    """`output(options, kept_j, t, slope, bend, v_j, row)`: what is written for class j.

    That is two numbers, the second its Hessian, if that is wanted. `kept_j` is what is kept of the
    class; t is its mass; slope and bend are the derivatives of the cap at its logit; v_j is its
    element of the vector, if there is one; and `row` is an `OfRow`.
    """
    zero, form_output = traits.form.number(0), traits.form.output
    if traits.multiplying:
        return _hessian_times(traits)
    if form_output not in ("proba", "log_proba"):
        return _derivatives(traits)

    def output(o: Any, kept_j: Any, t: Any, slope: Any, bend: Any, v_j: Any, row: Any) -> Any:
        if form_output == "proba":
            return kept_j * row.probability, zero
        return kept_j - row.log_sum, zero

    return output


def _exact_excess(traits: Traits) -> Function:
    z_loss = traits.variant.z_loss

    # Not fused: beside the Hessian LLVM fuses it for soft labels, and not for class ids.
    @unfused
    def exact_excess(t: Any, row: Any) -> Any:
        """T p - t of a class with p = 1 - complement, whose digits do not cancel."""
        total = row.total
        if z_loss:
            return (total - t) + (row.extra - (total + row.extra) * row.complement)
        return (total - t) - total * row.complement

    return exact_excess


def _derivatives(traits: Traits) -> Function:
    variant, linked, number = traits.variant, traits.linked, traits.form.number
    tempered, capped, z_loss = variant.tempered, variant.capped, variant.z_loss
    hessian_scaled = variant.hessian in ("xgboost", "lightgbm")
    hessian_of_residual, hessian_floored = (
        variant.hessian == "xgboost_residual",
        variant.hessian_floored,
    )
    hessian_of_ones, majorizing = variant.hessian == "ones", variant.hessian == "majorizer"
    zero, one, two, half = number(0), number(1), number(2), number(0.5)
    exact_excess = _exact_excess(traits)

    def output(o: Any, exp_j: Any, t: Any, slope: Any, bend: Any, v_j: Any, row: Any) -> Any:
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
        if majorizing:
            hess = two * abs(hess)
        if hessian_of_ones:
            hess = row.curvature if linked else row.total
        elif majorizing and linked:
            hess = hess + row.curvature * select(at_label, q, p)
        elif majorizing and z_loss:
            hess = hess + row.curvature * p
        elif linked:
            # p_j - [j = y]. Its square would underflow where a large curvature makes up for it.
            away = select(at_label, q, p)
            hess = hess + (row.curvature * away) * away
        elif z_loss:
            hess = hess + (row.curvature * p) * p
        if tempered:
            # The factor of the row has one of the two temperatures.
            inverse = number(o.inverse_temperature)
            hess = hess / inverse if hessian_of_ones else hess * inverse
        if capped:
            if majorizing:
                hess = hess * (slope * slope) + abs(excess * bend)
            elif not hessian_of_ones:
                hess = hess * (slope * slope) + excess * bend
            excess = excess * slope
        hess = row.factor * hess
        if hessian_floored:
            hess = select(hess < number(o.hessian_floor), number(o.hessian_floor), hess)
        return row.factor * excess, hess

    return output


def _hessian_times(traits: Traits) -> Function:
    variant, number = traits.variant, traits.form.number
    tempered, capped, z_loss = variant.tempered, variant.capped, variant.z_loss
    zero, one, half = number(0), number(1), number(0.5)
    exact_excess = _exact_excess(traits)

    def output(o: Any, exp_j: Any, t: Any, slope: Any, bend: Any, v_j: Any, row: Any) -> Any:
        """Element j of the Hessian times v, times the factor of the row."""
        p = exp_j * row.probability
        total = row.total
        if z_loss:
            total = total + row.extra
        bent = bend * v_j
        v_j = v_j * slope
        # Of a class with p > 1/2, v_j - dot is found from the complement, as 1 - p is above.
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
        return row.factor * product, zero

    return output
