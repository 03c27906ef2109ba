"""The extension itself: mathematics that browsers draw themselves, and entries of the reference."""

import ast
from itertools import groupby
from pathlib import Path
from typing import Any

import latex2mathml.converter
from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from sphinx import addnodes
from sphinx.transforms import SphinxTransform

import fastloss as fl
from fastloss import catalogue

from . import docstrings


def _inline(self: Any, node: nodes.Element) -> None:
    self.body.append(latex2mathml.converter.convert(node.astext()))
    raise nodes.SkipNode


def _block(self: Any, node: nodes.Element) -> None:
    mathml = latex2mathml.converter.convert(node.astext(), display="block")
    self.body.append(f'<div class="formula">{mathml}</div>')
    raise nodes.SkipNode


class Losses(Directive):
    """The losses of a family, with their ready-made instances: `.. losses:: regression`."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        families = groupby(catalogue.entries(), lambda entry: entry.family)
        entries = {name: list(found) for name, found in families}[self.arguments[0]]
        return _parsed(self, [line for entry in entries for line in reference_of(entry)])


class TorchLoss(Directive):
    """`fastloss.torch.Loss`, from its source: PyTorch takes gigabytes, and is not needed here."""

    def run(self) -> list[nodes.Node]:
        path = Path(fl.__file__).parent / "torch" / "module.py"
        tree = ast.parse(path.read_text(encoding="utf-8"))
        (loss,) = (node for node in tree.body if getattr(node, "name", "") == "Loss")
        text = docstrings.rewritten((ast.get_docstring(loss) or "").splitlines())
        lines = [".. py:class:: fastloss.torch.Loss(loss, overwrite_logits=False)", ""]
        return _parsed(self, lines + [f"   {line}" for line in text])


def _parsed(directive: Directive, lines: list[str]) -> list[nodes.Node]:
    node = nodes.Element()
    directive.state.nested_parse(StringList(lines, directive.name), directive.content_offset, node)
    return node.children


def reference_of(entry: catalogue.Entry) -> list[str]:
    loss = getattr(fl, entry.name)
    members = ", ".join(own_verbs(loss))
    lines = [f".. autoclass:: fastloss.{entry.name}"]
    lines += [f"   :members: {members}", ""] if members else [""]
    for name in entry.instances:
        lines += [f".. py:data:: fastloss.{name}", f"   :value: {getattr(fl, name)!r}", ""]
        lines += [f"   Ready made: :py:class:`fastloss.{entry.name}`.", ""]
    return lines


def own_verbs(loss: type[fl.Loss]) -> list[str]:
    """Those that not all losses of its kind have."""
    kinds = (fl.Loss, fl.ElementwiseLoss, fl.RowwiseLoss)
    return [
        name
        for name in dir(loss)
        if not name.startswith("_")
        and callable(value := getattr(loss, name))
        and value.__doc__
        and name not in ("scalar", "link")
        and not any(getattr(kind, name, None) is value for kind in kinds)
    ]


class Links(SphinxTransform):
    """Code of pages that is a public name, `fl.Huber` or `Huber`, leads to its entry."""

    default_priority = 600

    def apply(self) -> None:
        for node in list(self.document.findall(nodes.literal)):
            name = node.astext().removeprefix("fl.")
            known = name in fl.__all__ and (name[0].isupper() or name != node.astext())
            has_link = isinstance(
                node.parent, (nodes.reference, nodes.title, addnodes.pending_xref)
            )
            if not known or has_link:
                continue
            link = addnodes.pending_xref(
                "", refdomain="py", reftype="obj", reftarget=f"fastloss.{name}"
            )
            node.replace_self(link)
            link += node


def setup(app: Any) -> dict[str, Any]:
    app.connect("autodoc-process-docstring", docstrings.process)
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    app.add_transform(Links)
    app.add_directive("losses", Losses)
    app.add_directive("torch-loss", TorchLoss)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
