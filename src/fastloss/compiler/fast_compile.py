"""How Numba compiles the functions that end up in a kernel: to the same code, in half the time.

This stands on much that is private to Numba, and is not imported with one that is newer than those
that it was tested with.
"""

import re
from collections import Counter
from typing import Any, ClassVar

from numba import types

from .arguments import handed_over
from .bits import INTERLEAVED
from .intrinsics import INTERLEAVED_MARK
from .numba_api import (
    CompilerBase,
    DeadBranchPrune,
    DefaultPassBuilder,
    FunctionPass,
    GenericRewrites,
    InlineClosureLikes,
    InlineInlinables,
    InlineOverloads,
    IRLegalization,
    IRProcessing,
    JITCodeLibrary,
    Lower,
    NativeLowering,
    NopythonRewrites,
    PassManager,
    PreLowerStripPhis,
    ReconstructSSA,
    WithLifting,
    build_definitions,
    canonicalize_cfg,
    cgutils,
    ir,
    llvm,
    llvm_binding,
    reconstruct_ssa,
    register_pass,
    rewrite_registry,
)
from .passes import WeakNumbersCompiler
from .weak_numbers import compiles_weak_numbers


def _interleave_loops(function: Any) -> None:
    module = function.module
    count = module.add_metadata(["llvm.loop.interleave.count", llvm.IntType(32)(INTERLEAVED)])
    places = {block: place for place, block in enumerate(function.blocks)}
    for block, place in places.items():
        jump = block.terminator
        if any(places[target] <= place for target in jump.operands if target in places):
            # What LLVM knows of a loop is said at the jump back to its start, in a list of its own:
            # one that begins with itself.
            loop = llvm.MDValue(module, [count], name=str(len(module.metadata)))
            loop.operands = (loop, count)
            jump.set_metadata("llvm.loop", loop)


class _InlinedLibrary(JITCodeLibrary):  # type: ignore[misc]
    """Code that waits, as it came from Numba but for some hints, to be inlined.

    Numba links each function with all that it calls, and again in each caller. Here nothing is
    linked before a kernel asks for it.
    """

    def __init__(self, codegen: Any, name: str) -> None:
        super().__init__(codegen, name)
        self._modules: list[Any] = []
        self._whole: Any = None  # with all that it calls

    def add_ir_module(self, ir_module: Any) -> None:
        for function in ir_module.functions:
            if not (function.is_declaration or function.linkage):
                function.linkage = "linkonce_odr"  # so that it is gone when it has been inlined
            if INTERLEAVED_MARK in function.attributes:
                _interleave_loops(function)
        module = llvm_binding.parse_assembly(cgutils.normalize_ir_text(str(ir_module)))
        module.name = ir_module.name
        module.data_layout = self._codegen._data_layout
        # At the lowest level, as all passes run again when the code is in a kernel: that takes 6%
        # less, for kernels that are as fast.
        passes, builder = self._codegen._function_pass_manager(opt=1)
        for function in ir_module.functions:
            if not function.is_declaration:
                passes.run(module.get_function(function.name), builder)
        self._modules.append(module)

    def finalize(self) -> None:
        for library in self._linking_libraries:
            # Functions that must be called when stored code is loaded; old Numbas keep them
            # elsewhere.
            if hasattr(library, "_reload_init"):
                self._reload_init.update(library._reload_init)
        self._finalized = True

    def _get_module_for_linking(self) -> Any:
        if self._whole is None:
            first, *others = _callers_first(self, set())
            self._whole = first.clone()
            for module in others:
                self._whole.link_in(module, preserve=True)
        return self._whole

    def get_pointer_to_function(self, name: str) -> int:
        self._ensure_finalized()
        return 0  # there is none

    @property
    def codegen(self) -> Any:
        return _NoEnvironment(self._codegen)


def _callers_first(library: Any, seen: set[Any]) -> list[Any]:
    """The modules of a library and, behind them, those of all that it calls.

    In this order because LLVM's linker leaves out what nobody has asked for yet.
    """
    seen.add(library)
    if not isinstance(library, _InlinedLibrary):
        return [library._get_module_for_linking()]
    called: list[Any] = []
    for each in library._linking_libraries:
        if each not in seen:
            called = _callers_first(each, seen) + called
    return [*library._modules, *called]


class _NoEnvironment:
    """The code generator, but for what it does with functions that have an address."""

    def __init__(self, codegen: Any) -> None:
        self._codegen = codegen

    def set_env(self, name: str, env: Any) -> None: ...

    def __getattr__(self, name: str) -> Any:
        return getattr(self._codegen, name)


@register_pass(mutates_CFG=False, analysis_only=False)
class _Inline(FunctionPass):  # type: ignore[misc]
    """Make no machine code of a function that is only called from compiled code.

    Numba optimises each function as a whole, with all that it calls, and again in each caller, and
    makes machine code of each. For functions that end up in one kernel, once is enough.
    """

    _name = "fastloss_inline"

    def __init__(self) -> None:
        FunctionPass.__init__(self)

    def run_pass(self, state: Any) -> bool:
        state.library = _InlinedLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        return False


# What Numba calls a condition, by the place of its branch in the bytecode.
_CONDITION = re.compile(r"\$\d+pred")


@register_pass(mutates_CFG=False, analysis_only=False)
class _DropConditions(FunctionPass):  # type: ignore[misc]
    """Leave out the `bool(condition)` of branches that are gone, as `with_grad` is known.

    Numba infers a type for it and makes code of it all the same. Without it a kernel compiles in 8%
    less time.
    """

    _name = "fastloss_drop_conditions"

    def __init__(self) -> None:
        FunctionPass.__init__(self)

    def run_pass(self, state: Any) -> bool:
        blocks = state.func_ir.blocks.values()
        ends = [block.terminator for block in blocks]
        asked = {end.cond.name for end in ends if isinstance(end, ir.Branch)}
        dropped = set()
        for block in blocks:
            for call in block.find_insts(ir.Assign):
                name = call.target.name
                if _CONDITION.fullmatch(name) and name not in asked:
                    dropped |= {name, call.value.func.name}
        for block in blocks if dropped else ():
            block.body = [
                each
                for each in block.body
                if not (isinstance(each, ir.Assign) and each.target.name in dropped)
            ]
        for name in dropped:
            del state.func_ir._definitions[name]
        return bool(dropped)


@register_pass(mutates_CFG=True, analysis_only=False)
class _Processing(IRProcessing):  # type: ignore[misc]
    """As Numba's, but where a variable is alive is not found out here, nor after the passes below.

    That matters to generators, which the package has none of, and to counts of references, before
    which `IRLegalization` finds it out by itself.
    """

    _name = "fastloss_processing"

    def run_pass(self, state: Any) -> bool:
        state.func_ir.blocks = canonicalize_cfg(state.func_ir.blocks)
        state.func_ir.generator_info = None
        return True


@register_pass(mutates_CFG=True, analysis_only=False)
class _Rewrites(GenericRewrites):  # type: ignore[misc]
    _name = "fastloss_rewrites"

    def run_pass(self, state: Any) -> bool:
        blocks = state.func_ir.blocks
        for rule in rewrite_registry.rewrites["before-inference"]:
            rewrite = rule(state)
            for place in blocks:
                while rewrite.match(state.func_ir, blocks[place], state.typemap, state.calltypes):
                    blocks[place] = rewrite.apply()
        return True


@register_pass(mutates_CFG=True, analysis_only=False)
class _Reconstruction(ReconstructSSA):  # type: ignore[misc]
    _name = "fastloss_reconstruction"

    def run_pass(self, state: Any) -> bool:
        state.func_ir = reconstruct_ssa(state.func_ir)
        state.func_ir._definitions = build_definitions(state.func_ir.blocks)
        return True


@register_pass(mutates_CFG=True, analysis_only=False)
class _WithoutPhis(PreLowerStripPhis):  # type: ignore[misc]
    _name = "fastloss_without_phis"

    def run_pass(self, state: Any) -> bool:
        state.func_ir = self._strip_phi_nodes(state.func_ir)
        state.func_ir._definitions = build_definitions(state.func_ir.blocks)
        return True


# Passes that look for what functions of the package do not have: closures and comprehensions,
# functions that Numba inlines, with statements, arithmetic with whole arrays. Without them a kernel
# takes 5% less. (To have Numba inline small functions takes longer than to compile them.)
_IDLE = {InlineClosureLikes, InlineInlinables, InlineOverloads, WithLifting, NopythonRewrites}
# The pass that says where the last use of a variable is, for its references.
_COUNTING = {IRLegalization}


class _Passes(PassManager):  # type: ignore[misc]
    """Runs its passes. Numba's also tells listeners of each, which takes 3% of a kernel's time."""

    def _runPass(self, index: int, pass_: Any, state: Any) -> None:
        pass_.analysis = self._analysis
        pass_.run_initialization(state)
        pass_.run_pass(state)
        pass_.run_finalizer(state)


class _SettledTypes:
    """The typing context, but what a function gives for arguments of some types is found out once.

    For each multiplication of two numbers Numba tries up to 18 rules, of strings and arrays too;
    and for each call of an intrinsic, and each field of a tuple, it looks whether there are new
    rules. Without that a kernel compiles in a tenth less time.
    """

    _results: ClassVar[dict[Any, Any]] = {}
    _fields: ClassVar[dict[Any, Any]] = {}

    def __init__(self, context: Any) -> None:
        self._context = context

    def resolve_function_type(self, function: Any, args: Any, kws: Any) -> Any:
        if kws:
            return self._context.resolve_function_type(function, args, kws)
        # By the type of the function, which is another one when somebody adds a rule.
        if (function, args) not in self._results:
            result = self._context.resolve_function_type(function, args, kws)
            self._results[function, args] = result
        return self._results[function, args]

    def resolve_getattr(self, value: Any, name: str) -> Any:
        if not isinstance(value, types.BaseTuple):
            return self._context.resolve_getattr(value, name)
        if (value, name) not in self._fields:
            self._fields[value, name] = self._context.resolve_getattr(value, name)
        return self._fields[value, name]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)


class _Lower(Lower):  # type: ignore[misc]
    """Numba's lowering, but for what it does with variables in functions that count no references.

    There a variable that is assigned once is a value, in all blocks of the function; for Numba it
    is one in a single block, and else a place in memory, which is set to zero, read before each
    assignment and asked for its size. A kernel has a third fewer instructions before LLVM sees it.
    """

    def lower(self) -> None:
        types_of_arguments = self.fndesc.argtypes
        self.fndesc.argtypes = handed_over(types_of_arguments)
        super().lower()
        self.fndesc.argtypes = types_of_arguments  # by which callers find the function

    def _find_singly_assigned_variable(self) -> None:
        if self.flags.nrt:
            super()._find_singly_assigned_variable()
        else:
            self._blk_local_varmap: dict[str, Any] = {}
            blocks = self.blocks.values()
            names = (each.target.name for block in blocks for each in block.find_insts(ir.Assign))
            self._singly_assigned_vars = {name for name, n in Counter(names).items() if n == 1}

    def alloca_lltype(self, name: str, lltype: Any, datamodel: Any = None) -> Any:
        if self.flags.nrt:
            return cgutils.alloca_once(self.builder, lltype, name=name)
        with self.builder.goto_entry_block():
            return self.builder.alloca(lltype, name=name)

    def lower_binop(self, result: Any, expr: Any, operator: Any) -> Any:
        signature = self.fndesc.calltypes[expr]
        given = self.typeof(expr.lhs.name), self.typeof(expr.rhs.name)
        known = (expr.static_lhs, expr.static_rhs) != (ir.UNDEFINED, ir.UNDEFINED)
        function = self.context.typing_context.resolve_value_type(operator)
        if known or given != signature.args or given not in function._impl_keys:
            return super().lower_binop(result, expr, operator)
        # Numba finds the types once more, also of numbers that need not be converted.
        implementation = self.context.get_function(function, signature)
        numbers = [self.loadvar(each.name) for each in (expr.lhs, expr.rhs)]
        found = implementation(self.builder, numbers)
        return self.context.cast(self.builder, found, signature.return_type, result)

    def storevar(self, value: Any, name: str, argidx: int | None = None) -> None:
        if name in self._singly_assigned_vars or (argidx is None and self.flags.nrt):
            super().storevar(value, name, argidx)
        else:
            self._alloca_var(name, self.typeof(name))
            self.builder.store(value, self.getvar(name))


@register_pass(mutates_CFG=True, analysis_only=False)
class _Lowering(NativeLowering):  # type: ignore[misc]
    _name = "fastloss_lowering"
    lowering_class = _Lower

    def run_pass(self, state: Any) -> bool:
        super().run_pass(state)
        function = state["cr"].fndesc
        function.argtypes = handed_over(function.argtypes)  # as callers call it
        return True


# What stands in the place of which pass.
_OWN = {
    IRProcessing: _Processing,
    GenericRewrites: _Rewrites,
    ReconstructSSA: _Reconstruction,
    PreLowerStripPhis: _WithoutPhis,
    NativeLowering: _Lowering,
}


class InlinedCompiler(CompilerBase):  # type: ignore[misc]
    """For functions of the package that are called from kernels."""

    def define_pipelines(self) -> list[Any]:
        self.state.typingctx = _SettledTypes(self.state.typingctx)
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state).passes
        manager = _Passes("inlined")
        idle = _IDLE if self.state.flags.nrt else _IDLE | _COUNTING
        manager.passes = [(_OWN.get(each, each), why) for each, why in passes if each not in idle]
        manager.add_pass_after(_Inline, _Processing)
        manager.add_pass_after(_DropConditions, DeadBranchPrune)
        manager.finalize()
        return [manager]


@compiles_weak_numbers
class FormulaCompiler(WeakNumbersCompiler):
    """For functions of users that are called from kernels."""

    further = (_Inline,)

    def types_known(self) -> Any:
        return _SettledTypes(self.state.typingctx)
