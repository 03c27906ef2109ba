"""What a kernel of a softmax is made for: dtypes, outputs, options, and what follows from them.

All of it is constant in compiled code, so what is not used costs nothing there.
"""

from typing import NamedTuple

from ..form import Form, Function


class Variant(NamedTuple):
    """The options of a loss that a kernel is compiled for."""

    class_weighted: bool = False
    smoothed: bool = False
    class_masked: bool = False  # for all rows; masks of single rows are in the form
    tempered: bool = False
    capped: bool = False
    z_loss: bool = False
    hessian: str = "exact"  # as the option of that name
    hessian_floored: bool = False
    # From the cross-entropy of a class id to the loss: `link(options, loss)` returns the value and
    # its first two derivatives, in float64.
    link: Function | None = None
    # What the kernel is told at each call besides what all losses of rows tell.
    options: tuple[str, ...] = ()

    def known_to(self, form: Form) -> "Variant":
        """The options that matter in a form.

        Those of the Hessian do not where none is written, nor those of the loss itself where there
        are no labels.
        """
        known = self
        if not form.with_hess:
            options = tuple(name for name in self.options if not name.startswith("hessian_"))
            known = self._replace(hessian="exact", hessian_floored=False, options=options)
        if form.labelled:
            return known
        return known._replace(class_weighted=False, smoothed=False, z_loss=False, link=None)


class Traits(NamedTuple):
    """What is known of a kernel before it is called."""

    form: Form
    variant: Variant
    ignoring: bool = False  # whether rows of a certain class id are left out

    @property
    def row_masked(self) -> bool:
        """Whether each row has a mask of its own."""
        return bool(self.form.mask)

    @property
    def masked(self) -> bool:
        return self.variant.class_masked or self.row_masked

    @property
    def linked(self) -> bool:
        return self.variant.link is not None

    @property
    def keeping(self) -> bool:
        """Whether long rows keep their exponentials for the gradient."""
        return self.form.rows == "kept" and self.form.with_grad

    @property
    def leaving_out(self) -> bool:
        """Whether there may be rows that do not count, and have derivatives of 0."""
        return self.form.weighted or self.ignoring or self.variant.class_weighted

    @property
    def sparse(self) -> bool:
        """Whether a row has several class ids, and the probability of each."""
        return bool(self.form.probabilities)

    @property
    def by_id(self) -> bool:
        """Whether a class has no mass but its share of the smoothing, if no class id names it."""
        return self.form.class_ids or not self.form.labelled

    @property
    def one_id(self) -> bool:
        return self.form.class_ids and not self.sparse

    @property
    def one_hot(self) -> bool:
        """Whether no class but that of the one class id has a mass."""
        return self.one_id and not self.variant.smoothed

    @property
    def unit_masses(self) -> bool:
        """Whether the masses of each row add up to 1, and nobody asks for their sum.

        A class id that is no class, as one that changed since it was checked, shows in `Sums.rest`
        then, as NaN. Scores are found of rows without a label, too.
        """
        one_hot = self.one_hot or not self.form.labelled
        return one_hot and not (self.variant.class_weighted or self.form.scored)

    @property
    def multiplying(self) -> bool:
        """Whether the Hessian is multiplied by a vector."""
        return self.form.output == "hvp"

    @property
    def logarithmic(self) -> bool:
        """Whether logarithms of probabilities are written."""
        return self.form.output == "log_proba"
