"""Changes of the network and its loss: a softmax taken away, another loss, frozen layers."""

from __future__ import annotations

import libcst as cst

from houndsight.debugger.doctor.patches.script import NotLocatedError, Script, dotted

__all__ = [
    "drop_in_training_only",
    "mend_requires_grad",
    "register_layers",
    "remove_softmax",
    "use_cross_entropy",
]

MISSPELT = ("require_grad", "requires_gradient", "require_gradient", "required_grad")
CROSS_ENTROPY = {"NLLLoss": "CrossEntropyLoss", "nll_loss": "cross_entropy"}


def remove_softmax(script: Script) -> str:
    """The text without the only softmax in it, module or function."""
    calls = [*script.calls("softmax"), *script.calls("Softmax"), *script.calls("LogSoftmax")]
    if len(calls) != 1:
        count = len(calls) or "no"
        raise NotLocatedError(
            f"There is {count} softmax in the script; one is needed to be sure which it is."
        )
    call = calls[0]
    if dotted(call.func).split(".")[-1] == "softmax":
        return script.replace(call, _what_it_gets(call))
    argument = script.nearest(call, cst.Arg)
    around = script.nearest(call, cst.Call)
    if argument is not None and argument.value is call and around is not None:
        kept = [a for a in around.args if a is not argument]
        kept[-1:] = [kept[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)] if kept else []
        return script.replace(around, around.with_changes(args=kept))
    identity = dotted(call.func).rpartition(".")[0]
    made = cst.parse_expression(f"{identity}.Identity()" if identity else "torch.nn.Identity()")
    return script.replace(call, made)


def _what_it_gets(call: cst.Call) -> cst.BaseExpression:
    """`x` of `F.softmax(x, dim=1)`, of `torch.softmax(x, 1)` and of `x.softmax(1)`."""
    owner = dotted(call.func).rpartition(".")[0]
    if isinstance(call.func, cst.Name) or owner.split(".")[-1] in ("F", "torch", "functional"):
        if not call.args:
            raise NotLocatedError("The softmax is called without anything.")
        return call.args[0].value
    assert isinstance(call.func, cst.Attribute)
    return call.func.value


def use_cross_entropy(script: Script) -> str:
    """The text with cross-entropy for a negative log-likelihood of raw logits."""
    for old, new in CROSS_ENTROPY.items():
        calls = script.calls(old)
        if len(calls) == 1:
            func = calls[0].func
            changed = (
                func.with_changes(attr=cst.Name(new))
                if isinstance(func, cst.Attribute)
                else cst.Name(new)
            )
            if isinstance(func, cst.Name):
                raise NotLocatedError(f"{old} is imported by its own name; import {new} beside it.")
            return script.replace(func, changed)
    raise NotLocatedError("The loss that the script uses is not one that is simply renamed.")


def mend_requires_grad(script: Script) -> str:
    """The text with `requires_grad` where an attribute of another spelling is set."""
    for assign in script.all(cst.Assign):
        target = assign.targets[0].target
        if isinstance(target, cst.Attribute) and target.attr.value in MISSPELT:
            return script.replace(target.attr, cst.Name("requires_grad"))
    raise NotLocatedError("No attribute that is misspelt for requires_grad is set in the script.")


def drop_in_training_only(script: Script) -> str:
    """The text with `training=self.training` for every functional dropout that is not told."""
    text = ""
    while call := next((c for c in script.calls("dropout") if _untold(script, c)), None):
        told = cst.Arg(
            cst.parse_expression("self.training"),
            cst.Name("training"),
            equal=cst.AssignEqual(cst.SimpleWhitespace(""), cst.SimpleWhitespace("")),
        )
        text = script.replace(call, call.with_changes(args=[*call.args, told]))
        script = Script(text)
    if not text:
        raise NotLocatedError("No F.dropout without `training` stands in a method of the script.")
    return text


def _untold(script: Script, call: cst.Call) -> bool:
    """Whether it is `F.dropout(x)` or `F.dropout(x, p)` where there is a `self`."""
    method = script.nearest(call, cst.FunctionDef)
    owner = dotted(call.func).rpartition(".")[0].split(".")[-1]
    if method is None or owner not in ("F", "functional"):
        return False
    first = method.params.params[0].name.value if method.params.params else ""
    keywords = {a.keyword.value for a in call.args if a.keyword}
    return first == "self" and "training" not in keywords and len(call.args) < 3


def register_layers(script: Script) -> str:
    """The text with `nn.ModuleList` around the only list of layers that is set on `self`."""
    found = [
        assign.value
        for assign in script.all(cst.Assign)
        if isinstance(assign.value, cst.List | cst.ListComp)
        and dotted(assign.targets[0].target).startswith("self.")
        and _makes_layers(assign.value)
    ]
    if len(found) != 1:
        count = len(found) or "no"
        raise NotLocatedError(
            f"There is {count} list of layers set on self in the script; one is needed to be sure."
        )
    made = next(name for f in _functions(found[0]) if "nn" in (name := dotted(f)).split("."))
    prefix = made.rpartition(".")[0]
    wrapped = cst.Call(cst.parse_expression(f"{prefix}.ModuleList"), [cst.Arg(found[0])])
    return script.replace(found[0], wrapped)


def _functions(node: cst.CSTNode) -> list[cst.BaseExpression]:
    own = [node.func] if isinstance(node, cst.Call) else []
    return own + [function for child in node.children for function in _functions(child)]


def _makes_layers(node: cst.CSTNode) -> bool:
    """Whether something of `nn` is made in it."""
    return any("nn" in dotted(function).split(".")[:-1] for function in _functions(node))
