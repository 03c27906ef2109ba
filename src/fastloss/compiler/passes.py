"""The steps of a compilation that Numba does not have, without which results would be others.

Functions of losses are compiled by them, and with `fast_compile.py` in fewer steps.
"""

from typing import Any, ClassVar

from .numba_api import (
    CompilerBase,
    DefaultPassBuilder,
    FunctionPass,
    IRProcessing,
    NopythonTypeInference,
    build_definitions,
    ir,
    register_pass,
)
from .weak_numbers import (
    WeakTypes,
    compiles_weak_numbers,
    has_weak_numbers,
    knows_weak_numbers,
    strong,
)


@register_pass(mutates_CFG=False, analysis_only=False)
class LargeNumbers(FunctionPass):  # type: ignore[misc]
    """Whole numbers of more than 64 bits, which Numba cannot type, become floats."""

    _name = "fastloss_large_numbers"

    def __init__(self) -> None:
        FunctionPass.__init__(self)

    def run_pass(self, state: Any) -> bool:
        changed = False
        for block in state.func_ir.blocks.values():
            for statement in block.find_insts(ir.Assign):
                source = statement.value
                if (
                    isinstance(source, (ir.Const, ir.Global, ir.FreeVar))
                    and type(source.value) is int
                    and not -(2**63) <= source.value < 2**63
                ):
                    statement.value = ir.Const(float(source.value), source.loc)
                    changed = True
        if changed:  # definitions hold the replaced values, which later passes look up
            state.func_ir._definitions = build_definitions(state.func_ir.blocks)
        return changed


@register_pass(mutates_CFG=False, analysis_only=False)
class WeakResults(FunctionPass):  # type: ignore[misc]
    """What Numba's own functions make of weak numbers is float64 until it is put into a variable.

    The code of these functions asks for the type of their result, and knows no weak one.
    """

    _name = "fastloss_weak_results"

    def __init__(self) -> None:
        FunctionPass.__init__(self)

    def run_pass(self, state: Any) -> bool:
        state.calltypes = {
            call: signature
            if signature is None or self._is_of_formula(state, call)
            else signature.replace(return_type=strong(signature.return_type))
            for call, signature in state.calltypes.items()
        }
        return False

    def _is_of_formula(self, state: Any, call: Any) -> bool:
        """Whether a function is called that returns weak numbers itself."""
        is_call = isinstance(call, ir.Expr) and call.op == "call"
        return is_call and knows_weak_numbers(state.typemap[call.func.name])


@compiles_weak_numbers
class WeakNumbersCompiler(CompilerBase):  # type: ignore[misc]
    """Numba's own way, but for weak numbers."""

    further: ClassVar[tuple[Any, ...]] = ()  # passes at the beginning

    def types_known(self) -> Any:
        return self.state.typingctx

    def define_pipelines(self) -> list[Any]:
        manager = DefaultPassBuilder.define_nopython_pipeline(self.state)
        if has_weak_numbers(self.state.args):
            self.state.typingctx = WeakTypes(self.types_known())
            manager.add_pass_after(LargeNumbers, IRProcessing)
            manager.add_pass_after(WeakResults, NopythonTypeInference)
        for each in self.further:
            manager.add_pass_after(each, IRProcessing)
        manager.finalize()
        return [manager]
