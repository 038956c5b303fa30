"""A script's text as a tree, and what is looked for in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

import libcst as cst
from libcst.metadata import MetadataWrapper, ParentNodeProvider

__all__ = ["NotLocatedError", "Script", "dotted", "literal", "statement"]

OPTIMIZERS = {
    "SGD",
    "Adam",
    "AdamW",
    "NAdam",
    "RAdam",
    "Adamax",
    "Adagrad",
    "Adadelta",
    "RMSprop",
    "Rprop",
    "ASGD",
}
Node = TypeVar("Node", bound=cst.CSTNode)


class NotLocatedError(Exception):
    """The change's place cannot be told for certain; the text says why, as a sentence."""


class Script:
    """A parsed script.

    Raises:
        NotLocatedError: it does not parse.
    """

    def __init__(self, source: str) -> None:
        try:
            self.module = cst.parse_module(source)
        except cst.ParserSyntaxError as error:
            raise NotLocatedError(f"The script does not parse: line {error.raw_line}.") from error
        wrapper = MetadataWrapper(self.module, unsafe_skip_copy=True)
        self._parents = wrapper.resolve(ParentNodeProvider)

    def all(self, kind: type[Node]) -> list[Node]:
        """Every node of a kind, in the order of the text."""
        return [node for node in _walk(self.module) if isinstance(node, kind)]

    def around(self, node: cst.CSTNode) -> Iterator[cst.CSTNode]:
        """What encloses a node, the nearest first."""
        while (parent := self._parents.get(node)) is not None:
            yield parent
            node = parent

    def nearest(self, node: cst.CSTNode, kind: type[Node]) -> Node | None:
        """The nearest enclosing node of a kind."""
        return next((each for each in self.around(node) if isinstance(each, kind)), None)

    def calls(self, last: str) -> list[cst.Call]:
        """Calls of what is named so, or of an attribute of that name."""
        return [c for c in self.all(cst.Call) if dotted(c.func).rpartition(".")[2] == last]

    def optimizer(self) -> cst.Call:
        """The call that makes the optimizer."""
        found = [
            call for call in self.all(cst.Call) if dotted(call.func).split(".")[-1] in OPTIMIZERS
        ]
        return _only(found, "call that makes a PyTorch optimizer")

    def optimizer_at(self, line: cst.CSTNode) -> str:
        """The optimizer's name where a line stands: that of the only one that steps there."""
        stepping = {
            dotted(call.func).rpartition(".")[0]
            for call in self.calls("step")
            if self.scope(call) is self.scope(line)
        }
        names = {n for n in stepping if n.isidentifier() and "sched" not in n and n != "scaler"}
        if len(names) != 1:
            raise NotLocatedError("No single optimizer steps beside the call of backward().")
        return names.pop()

    def model_at(self, line: cst.CSTNode) -> str:
        """The model's name where a line stands.

        The one whose parameters the optimizer is given, if it is known there; else the only
        argument of the function that is called with one value, as criteria are not.
        """
        scope = self.scope(line)
        known = {n.value for n in _walk(scope) if isinstance(n, cst.Name)}
        owners = {
            dotted(inner.func).rpartition(".")[0].split(".")[0]
            for inner in _walk(self.optimizer())
            if isinstance(inner, cst.Call) and dotted(inner.func).endswith(".parameters")
        }
        called = {
            dotted(call.func)
            for call in _walk(scope)
            if isinstance(call, cst.Call) and len(call.args) == 1
        }
        given = {p.name.value for p in _walk(scope) if isinstance(p, cst.Param)}
        names = (owners & known) - {"self", ""} or (given & called)
        if len(names) != 1:
            raise NotLocatedError("The model's name beside the training loop cannot be told.")
        return names.pop()

    def scope(self, node: cst.CSTNode) -> cst.CSTNode:
        """The function that a node stands in, or the whole script."""
        return self.nearest(node, cst.FunctionDef) or self.module

    def backward(self) -> cst.SimpleStatementLine:
        """The statement `….backward()` of the training loop."""
        call = _only(self.calls("backward"), "call of backward()")
        line = self.nearest(call, cst.SimpleStatementLine)
        if line is None:
            raise NotLocatedError("backward() does not stand in a line of its own.")
        return line

    def insert(self, line: cst.BaseStatement, *new: str, after: bool = False) -> str:
        """The text with statements before or after a line, in its block."""
        block = self._parents[line]
        assert isinstance(block, cst.IndentedBlock | cst.Module)
        body = list(block.body)
        place = next(n for n, each in enumerate(body) if each is line) + after
        made: list[cst.BaseStatement] = [statement(text) for text in new]
        body[place:place] = made
        return self.replace(block, block.with_changes(body=body))

    def replace(self, old: cst.CSTNode, new: cst.CSTNode) -> str:
        """The text with one node in place of another."""
        if old is self.module:
            assert isinstance(new, cst.Module)
            return new.code
        changed = self.module.deep_replace(old, new)
        assert isinstance(changed, cst.Module)
        return changed.code

    def value_of(self, expression: cst.BaseExpression) -> cst.BaseExpression:
        """The number that an expression stands for, where it is written down once.

        Raises:
            NotLocatedError: it is computed, or written down in several places.
        """
        if isinstance(expression, cst.Float | cst.Integer):
            return expression
        if isinstance(expression, cst.Call) and dotted(expression.func) == "float":
            return self.value_of(expression.args[0].value)
        text = self.module.code_for_node(expression)
        if isinstance(expression, cst.Subscript):
            found = self._in_dictionaries(expression)
        elif isinstance(expression, cst.Name | cst.Attribute):
            found = self._bound(dotted(expression).rpartition(".")[2])
        else:
            raise NotLocatedError(f"The value is computed: {text}.")
        return _only(found, f"place that gives {text} a number")

    def _bound(self, name: str) -> list[cst.BaseExpression]:
        """Numbers bound to a name: by assignment, as a default, as an option's default."""
        found: list[cst.BaseExpression | None] = [
            assign.value
            for assign in self.all(cst.Assign)
            if any(dotted(t.target).rpartition(".")[2] == name for t in assign.targets)
        ]
        found += [a.value for a in self.all(cst.AnnAssign) if dotted(a.target) == name]
        found += [p.default for p in self.all(cst.Param) if p.name.value == name]
        for call in self.calls("add_argument"):
            texts = [literal(argument.value) for argument in call.args]
            options = [t.lstrip("-").replace("-", "_") for t in texts if isinstance(t, str)]
            if name in options:
                found += [a.value for a in call.args if a.keyword and a.keyword.value == "default"]
        return [f for f in found if isinstance(f, cst.Float | cst.Integer)]

    def _in_dictionaries(self, expression: cst.Subscript) -> list[cst.BaseExpression]:
        index = expression.slice[0].slice
        key = literal(index.value) if isinstance(index, cst.Index) else None
        found = [e.value for e in self.all(cst.DictElement) if literal(e.key) == key is not None]
        return [f for f in found if isinstance(f, cst.Float | cst.Integer)]


def dotted(node: cst.CSTNode) -> str:
    """`torch.optim.SGD` for a name or an attribute; empty for anything else."""
    if isinstance(node, cst.Name):
        return node.value
    if isinstance(node, cst.Attribute):
        before = dotted(node.value)
        return f"{before}.{node.attr.value}" if before else f".{node.attr.value}"
    return ""


def literal(node: cst.CSTNode) -> str | float | None:
    """The value of a plain text or number."""
    if isinstance(node, cst.SimpleString):
        value = node.evaluated_value
        return value if isinstance(value, str) else None
    return node.evaluated_value if isinstance(node, cst.Float | cst.Integer) else None


def statement(text: str) -> cst.BaseStatement:
    """A statement as it stands in a block."""
    return cst.parse_statement(text)


def _only(found: Sequence[Node], what: str) -> Node:
    if len(found) != 1:
        count = "no" if not found else f"{len(found)}"
        raise NotLocatedError(f"There is {count} {what} in the script; one is needed to be sure.")
    return found[0]


def _walk(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    yield node
    for child in node.children:
        yield from _walk(child)
