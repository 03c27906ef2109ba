"""Two sets of logits, a and b, row by row: how far the one softmax is from the other.

With p and q the two softmaxes and d_j = log(p_j / q_j),

    KL(p || q)       = sum of p_j d_j
    KL(q || p)       = -sum of q_j d_j
    Jensen-Shannon   = (sum of p_j log(p_j / m_j) + sum of q_j log(q_j / m_j)) / 2,  m = (p + q) / 2
    total variation  = (sum of |p_j - q_j|) / 2

Where the two are nearly equal these sums cancel, down to a millionth of their terms. So all is
computed from d, and d never as the difference of two logarithms. With x and y the gaps to the
maxima, divided by the temperature, it is (x_j - y_j) - D, where

    x_j - y_j = ((a_j - b_j) - (max(a) - max(b))) / temperature

has lost nothing but its last rounding, and D, the logarithm of the ratio of the sums of
exponentials, is log1p(sum of (exp(x_j) - exp(y_j)) / sum of exp(y_j)). As p and q add up to the
same, q_j - p_j may be added to each term of KL(p || q). Then a class with |d| <= 1 adds, with
t = tanh(d / 2),

    (p + q) (t d / 2 - (t - d / 2))    to KL(p || q), and the same with a plus to KL(q || p)
    (p + q) / 2 times what `divergence_from_mean` is, to Jensen-Shannon
    (p + q) |t| / 2                    to the total variation

and any other, with P the larger of p_j and q_j, s = |d| and u = exp(-s),

    P (u - 1 + s) to the divergence of the larger from the smaller; P (1 - u - u s) the other way
    P ((1 + u) (log(2) - log(1 + u)) - u s) / 2 and P (1 - u) / 2.

Two models that are worth comparing are close in most classes, so each part of a row is computed by
the first if all of it is close, which takes a third of the time.
"""

from typing import Any

import numpy as np

from ...compiler.bits import select, window
from ..exponentials import constants
from ..form import Function, PairScores
from ..row_groups import group_sizer, rowwise
from ..scalar import exp_of_gap, log1p, log1p_of_sum
from ..tiles import fill
from .divergences import divergence_adder
from .traits import Traits
from .two_rows import (
    difference_finder,
    excess_formula,
    exp_adder,
    gap_reader,
    room,
    row_loader,
    rows_in,
)

# About how many numbers of each of the two arrays a group of rows has.
PAIRED = 1 << 12


def pairs(traits: Traits) -> Function:
    """What to do with a block: write the scores of its rows, a being `y_pred` and b the vector."""
    score, n_scores = pair_scorer(traits), traits.form.n_results

    def group(rows: Any) -> None:
        for r in range(rows.y_pred.size // rows.n_classes):
            rows.losses[r] = 0.0
            out = window(rows.scores, r * n_scores, n_scores)
            if rows.weights[r] == 0.0:
                fill(out, 0.0)
                continue
            scores = score(rows.options, rows, r)
            for i in range(n_scores):
                out[i] = scores[i]

    return rowwise(group, group_sizer(PAIRED), room, traits.form, traits.ignoring)


def pair_scorer(traits: Traits) -> Function:
    """The function that gives the `PairScores` of row r of a group."""
    load_a = row_loader(traits, traits.form.decode_pred)
    load_b = row_loader(traits, traits.form.decode_vector)
    find_differences, sum_exps = difference_finder(traits), exp_adder(traits)
    add_shares, gap_at = divergence_adder(traits), gap_reader(traits)
    label_of, labelled, double = label_finder(traits), traits.form.labelled, np.float64
    change_of = label_change_formula(double)

    def score(o: Any, rows: Any, r: Any) -> PairScores:
        c = rows.n_classes
        first = r * c
        two = rows_in(rows.numbers, c)
        top_a, place_a = load_a(o, window(rows.y_pred, first, c), two.a)
        top_b, place_b = load_b(o, window(rows.vector, first, c), two.b)
        tops = top_a, top_b
        gap_a, gap_b, label = 0.0, 0.0, 0
        if labelled:
            label = label_of(rows, r)
            gap_a, gap_b = gap_at(o, two.a, label, top_a), gap_at(o, two.b, label, top_b)
        find_differences(o, two, tops)
        rest_a, rest_b, excess = sum_exps(o, rows, first + c, two, tops, (place_a, place_b))
        if not rest_a + rest_b < np.inf:
            x = np.nan
            return PairScores(rows.weights[r], x, x, x, x, 0.0, x, x, x, x)
        log_sums = log1p(rest_a), log1p(rest_b)
        inverses = 1.0 / (1.0 + rest_a), 1.0 / (1.0 + rest_b)
        log_ratio = log_ratio_of(excess, inverses)
        kl, reverse_kl, js, tv = add_shares(rows, first + c, two, inverses, log_ratio)
        of_label = 0.0, 0.0, 0.0, 0.0
        if labelled:
            loss_a, loss_b = gap_a + log_sums[0], gap_b + log_sums[1]
            log_of_label = double(two.differences[label]) - log_ratio
            difference = loss_change(loss_a, loss_b, log_of_label)
            of_label = loss_a, loss_b, difference, change_of(loss_a, loss_b, difference)
        agreement = 1.0 if place_a == place_b else 0.0
        return PairScores(rows.weights[r], kl, reverse_kl, js, tv, agreement, *of_label)

    return score


# -------------------------------------------------------------------------------------------------
# Of one row, with SIMD where there are several


def label_finder(traits: Traits) -> Function:
    decode_true = traits.form.decode_true

    def label_of(rows: Any, r: Any) -> Any:
        label = decode_true(rows.y_true[r])
        # The labels were checked, so they changed since: stay inside the arrays.
        return select((label >= 0) & (label < rows.n_classes), label, 0)

    return label_of


def log_ratio_of(excess: Any, inverses: Any) -> Any:
    """D: the logarithm of the ratio of the sums of exponentials.

    `excess` is their difference, and `inverses` are 1 / each. NaN gives any number.
    """
    # Of a ratio below a half that of the other two: near -1 a logarithm of 1 + x loses digits.
    above = excess * inverses[1]
    is_small = above < -constants(excess).half
    log = log1p_of_sum(select(is_small, -(excess * inverses[0]), above))
    return select(is_small, -log, log)


def loss_change(loss_a: Any, loss_b: Any, difference: Any) -> Any:
    """The loss of b less that of a; `difference` is log(p_y / q_y), exact where it is small."""
    # A sum of infinities is one.
    infinite = (loss_a == np.inf) | (loss_b == np.inf)
    return select(infinite, loss_b - loss_a, difference)


def label_change_formula(number: Any) -> Function:
    excess_of = excess_formula(number)

    def change_of(loss_a: Any, loss_b: Any, difference: Any) -> Any:
        """How much more probable the label is in b; `difference` is that of the losses."""
        return excess_of(exp_of_gap(-loss_b), exp_of_gap(-loss_a), -difference)

    return change_of
