"""The ways in which scripts call the debugger, or do not."""

from __future__ import annotations

from .case import Case
from .network import TRAINING

LOSS = "CrossEntropyLoss_output_0"

CASES = (
    Case(
        name="hook from JSON, module and loss registered, modes set",
        hooked=True,
        script=TRAINING
        + """
from smdebug import modes
from smdebug.profiler.utils import str2bool
from smdebug.pytorch import get_hook
import smdebug.pytorch as smd

model, criterion = net(), nn.CrossEntropyLoss()
optimizer = optim.SGD(model.parameters(), lr=0.1)
hook = smd.Hook.create_from_json_file()
hook.register_module(model)
hook.register_loss(criterion)
for epoch in range(2):
    hook.set_mode(modes.TRAIN)
    train(model, batches(), criterion, optimizer, hook)
    hook.set_mode(smd.modes.EVAL)
    model.eval()
    with torch.no_grad():
        for data, target in batches(2):
            criterion(model(data), target)
print("DONE")
""",
        logged=["DONE"],
        tensors=[LOSS],
    ),
    Case(
        name="register_hook, create_if_not_exists, None asked for",
        hooked=True,
        script=TRAINING
        + """
import smdebug.pytorch as smd

model, criterion = net(), nn.CrossEntropyLoss()
hook = smd.get_hook(create_if_not_exists=True)
if hook is not None:
    hook.register_hook(model)
    hook.register_loss(criterion)
    hook.set_mode(smd.modes.TRAIN)
train(model, batches(), criterion, optim.Adam(model.parameters()), hook)
hook.save_scalar("accuracy", 0.5, sm_metric=True)
print("DONE")
""",
        logged=["DONE"],
        tensors=[LOSS],
    ),
    Case(
        name="a loss that was never registered",
        hooked=True,
        script=TRAINING
        + """
import smdebug.pytorch as smd

model, criterion = net(), nn.CrossEntropyLoss()
hook = smd.Hook.create_from_json_file()
hook.register_hook(model)
train(model, batches(), criterion, optim.SGD(model.parameters(), lr=0.1), hook)
print("DONE")
""",
        logged=["DONE"],
        tensors=[LOSS],
    ),
    Case(
        name="a script that knows nothing of the debugger",
        hooked=True,
        script=TRAINING
        + """
model, criterion = net(), nn.CrossEntropyLoss()
train(model, batches(), criterion, optim.SGD(model.parameters(), lr=0.1))
print("DONE")
""",
        logged=["DONE"],
        tensors=[LOSS],
    ),
    Case(
        name="the negative log-likelihood of log-probabilities",
        hooked=True,
        script=TRAINING
        + """
import smdebug.pytorch as smd

model = nn.Sequential(net(), nn.LogSoftmax(dim=1))
criterion = nn.NLLLoss()
hook = smd.get_hook(create_if_not_exists=True)
hook.register_module(model)
hook.register_loss(criterion)
train(model, batches(), criterion, optim.SGD(model.parameters(), lr=0.1), hook)
print("DONE")
""",
        logged=["DONE"],
        tensors=["NLLLoss_output_0"],
    ),
    Case(
        name="the debugger's hook without a configuration",
        script=TRAINING
        + """
import smdebug.pytorch as smd

hook = smd.get_hook(create_if_not_exists=True)
model = net()
if hook:
    hook.register_module(model)
train(model, batches(), nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.1), hook)
print("DONE")
""",
        logged=["DONE"],
    ),
)
