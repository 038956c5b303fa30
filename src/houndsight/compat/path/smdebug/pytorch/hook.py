"""SageMaker Debugger's hook for PyTorch, over Houndsight's.

`houndsight.debugger.Hook` watches the training for the rules; `Saver` keeps the tensors that
collections and save intervals ask for, in the same log. A step is a call of the registered
module. Where a script never says which mode it is in, the module's own `training` does.
"""

from __future__ import annotations

import atexit
import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from houndsight.debugger.hook.callback import Callback
from houndsight.debugger.hook.hook import Hook as Engine
from houndsight.debugger.hook.losses import CRITERIA, LossCall
from houndsight.debugger.hook.opening import unwrapped
from houndsight.debugger.hook.saving import Kept, Saver
from houndsight.debugger.saved import SavedWriter

from ..core.collection import Collection, CollectionKeys
from ..core.collection_manager import CollectionManager
from ..core.hook import CallbackHook
from ..core.json_config import JOB_CONFIG, HookConfig, configuration_path, read_hook_config
from ..core.logger import get_logger
from ..core.modes import ALLOWED_MODE_NAMES, ModeKeys
from ..core.reduction_config import ReductionConfig
from ..core.save_config import SaveConfig
from ..core.utils import flatten
from ..exceptions import SMDebugError, SMDebugTypeError, SMDebugValueError
from .singleton_utils import set_hook

__all__ = ["Hook"]

RUN = "HOUNDSIGHT_JOB_RUN"
"""The run folder of the training job that this process belongs to."""
TRAINING_ONLY = (CollectionKeys.GRADIENTS, CollectionKeys.OPTIMIZER_VARIABLES)
CRITERION_NAMES = {kind: criterion.__name__ for criterion, kind in CRITERIA.items()}
"""What SageMaker calls the loss of each of PyTorch's functions."""


class Hook(CallbackHook):
    """Saves tensors of a training, and has it watched.

    Args:
        out_dir: the run folder, outside training jobs; a job has its own.
        dry_run: save nothing.
        reduction_config: figures saved instead of tensors.
        save_config: when to save: a `SaveConfig`, or one for each mode.
        include_regex: expressions of tensors to save beside the collections.
        include_collections: the collections saved; the losses always are.
        save_all: save every tensor.
        include_workers: `one` or `all` processes of a distributed training.
        export_tensorboard, tensorboard_dir: not written; the log says so.

    Raises:
        SMDebugError: an argument is of another kind or cannot be.
    """

    def __init__(
        self,
        out_dir: str | Path | None = None,
        export_tensorboard: bool = False,
        tensorboard_dir: str | None = None,
        dry_run: bool = False,
        reduction_config: ReductionConfig | None = None,
        save_config: Any = None,
        include_regex: Iterable[str] | None = None,
        include_collections: Iterable[Any] | None = None,
        save_all: bool = False,
        include_workers: str = "one",
    ) -> None:
        self.logger = get_logger()
        self.out_dir = str(out_dir) if out_dir else "smdebug-out"
        self.dry_run, self.save_all, self.include_workers = dry_run, save_all, include_workers
        self.save_config = SaveConfig.parse(save_config)
        self.reduction_config = reduction_config or ReductionConfig(save_raw_tensor=True)
        self.collection_manager = CollectionManager()
        named = flatten(include_collections or ())
        self.include_collections = list(dict.fromkeys([*named, CollectionKeys.LOSSES]))
        if include_regex:
            self.get_collection(CollectionKeys.DEFAULT).include(list(include_regex))
            self.include_collections.append(CollectionKeys.DEFAULT)
        if save_all:
            self.get_collection(CollectionKeys.ALL).include(".*")
            self.include_collections.append(CollectionKeys.ALL)
        self.step = -1
        self.mode = ModeKeys.GLOBAL
        self.mode_steps: dict[ModeKeys, int] = dict.fromkeys(ModeKeys, -1)
        self._mode_set = False
        self._module: nn.Module | None = None
        self._criterion: nn.Module | None = None
        self._engine: Engine | None = None
        self._saver: Saver | None = None
        self._handles: list[Any] = []
        self._kept: dict[tuple[ModeKeys, int], list[Kept]] = {}
        self._early: list[tuple[str, float, float]] = []
        self._closed = self._failed = False
        self._owner = os.getpid()
        if not dry_run:
            self.logger.info("Saving to %s", self.out_dir)
        if export_tensorboard or tensorboard_dir:
            self.logger.warning("TensorBoard files are not written; houndsight's report shows all.")
        atexit.register(self._at_exit)
        set_hook(self)

    @classmethod
    def create_from_json_file(cls, json_file_path: str | None = None) -> Hook:
        """The hook that the job's configuration describes.

        In a job for which no hook is configured it saves and watches nothing.

        Raises:
            FileNotFoundError: there is no configuration.
            SMDebugValueError: the configuration cannot be.
        """
        path, log = configuration_path(json_file_path), get_logger()
        in_job = bool(os.environ.get(RUN)) or bool(os.environ.get("TRAINING_JOB_NAME"))
        if not Path(path).exists() and json_file_path is None and in_job:
            log.info("This job has no debugger hook configured: the hook saves nothing.")
            return cls(dry_run=True)
        if not Path(path).exists():
            raise FileNotFoundError(
                f"{path} is not there. Outside of training jobs make the hook by "
                "smd.Hook(out_dir=…), or name a configuration file."
            )
        shown = "/opt/ml/input/config/debughookconfig.json"
        log.info(
            "Creating hook from json_config at %s.",
            shown if path == os.environ.get(JOB_CONFIG) else path,
        )
        return cls._from_config(read_hook_config(path))

    hook_from_config = create_from_json_file

    @classmethod
    def _from_config(cls, config: HookConfig) -> Hook:
        hook = cls(
            out_dir=config.out_dir,
            export_tensorboard=config.export_tensorboard,
            tensorboard_dir=config.tensorboard_dir,
            dry_run=config.dry_run,
            reduction_config=config.reduction_config,
            save_config=config.save_config,
            include_regex=config.include_regex,
            include_collections=config.include_collections,
            save_all=config.save_all,
            include_workers=config.include_workers,
        )
        config.configure(hook.collection_manager)
        return hook

    # -- what is watched --------------------------------------------------------------------

    @property
    def has_registered_module(self) -> bool:
        """Whether it has a module."""
        return self._module is not None

    @property
    def has_registered_loss_module(self) -> bool:
        """Whether it has a loss."""
        return self._criterion is not None

    def register_hook(self, module: Any) -> None:
        """The same as `register_module`."""
        self.register_module(module)

    def register_module(self, module: Any) -> None:
        """Watch a model: the root module, as the loop calls it.

        Raises:
            SMDebugError: it is no module.
        """
        if not isinstance(module, nn.Module):
            raise SMDebugError(f"Module type {type(module).__name__} must be type torch.nn.Module")
        if self._module is not None or self.dry_run:
            if self._module is not None and self._module is not module:
                self.logger.warning(
                    "The hook has a module already, %s; %s is not watched.",
                    type(self._module).__name__,
                    type(module).__name__,
                )
            return
        self._module = module
        callback = Callback(self._before_forward, self._fail)
        self._handles.append(module.register_forward_pre_hook(callback))
        count = sum(p.numel() for p in module.parameters() if p.requires_grad)
        self.logger.info("Total Trainable Params: %d", count)

    def register_loss(self, loss_module: Any) -> None:
        """Watch a criterion.

        Raises:
            SMDebugTypeError: it is no module of PyTorch.
        """
        if not isinstance(loss_module, nn.Module):
            raise SMDebugTypeError(
                f"loss_module={loss_module} must be a module such as nn.CrossEntropyLoss(); save "
                "the value of a function by hook.record_tensor_value('loss', loss)."
            )
        if self._criterion is loss_module or self.dry_run:
            return
        self._criterion = loss_module
        callback = Callback(self._after_loss, self._fail)
        self._handles.append(loss_module.register_forward_hook(callback))

    def set_mode(self, mode: Any) -> None:
        """What the steps from now on are for.

        Raises:
            SMDebugValueError: it is no mode.
        """
        if not isinstance(mode, ModeKeys):
            raise SMDebugValueError(
                f"Invalid mode {mode}. Valid modes are {','.join(ALLOWED_MODE_NAMES)}."
            )
        self._mode_set = True
        self._enter(mode)

    def _enter(self, mode: ModeKeys) -> None:
        if mode is self.mode:
            return
        self.mode = mode
        if self._engine is not None:
            self._engine.set_mode(_engine_mode(mode))

    # -- a step -----------------------------------------------------------------------------

    def _before_forward(self, module: nn.Module, args: Any) -> None:
        if module is self._module and not self._off:
            if self._engine is None:
                self._open(module).take_in(args)
            self.begin_step(module, args)

    def begin_step(self, module: nn.Module, args: Any) -> None:
        """The root module is called, with these arguments."""
        if not self._mode_set:
            training = module.training and torch.is_grad_enabled()
            self._enter(ModeKeys.TRAIN if training else ModeKeys.EVAL)
        self.step += 1
        if self.mode is not ModeKeys.GLOBAL:
            self.mode_steps[self.mode] += 1
        self.mode_steps[ModeKeys.GLOBAL] = self.step
        if self._saver is None:
            return
        self._saver.begin(self.step, self.mode.name, self.mode_steps[self.mode])
        self._saver.take_output(type(module).__name__, args, "_input_")
        early, self._early = self._early, []
        for name, value, at in early:
            self._saver.write_value(name, value, at)

    def _after_loss(self, module: nn.Module, args: Any, output: Any) -> None:
        if module is self._criterion and self._saver is not None and not self._off:
            name = type(module).__name__
            if self._saver.saving:
                self._saver.take_output(name, args, "_input_")
                self._saver.take_output(name, output)

    def _saw_loss(self, call: LossCall) -> None:
        """A loss of which the hook was not told: under the name it would have had."""
        if self._criterion is None and self._saver is not None and self._saver.saving:
            name = CRITERION_NAMES.get(call.kind, "Loss" if call.kind == "custom" else call.kind)
            self._saver.take_output(name, call.value)

    def _due(self, mode_name: str, mode_step: int) -> Sequence[Kept]:
        """What is kept of a step."""
        mode = ModeKeys[mode_name]
        if not self._writes:
            return ()
        found = []
        for name in self._collections_to_save():
            if mode in (ModeKeys.EVAL, ModeKeys.PREDICT) and name in TRAINING_ONLY:
                continue
            collection = self.get_collection(name)
            if self._is_due(collection, mode, mode_step):
                found.append(self._kept_of(collection))
        return found

    def _is_due(self, collection: Collection, mode: ModeKeys, mode_step: int) -> bool:
        config = collection.save_config
        if config is None or config.mode_save_configs[mode] is None:
            return self.save_config.should_save_step(mode, mode_step)
        # A rule asks for losses every 500 steps, which must not thin out what a person asked for.
        plainly = collection.name == CollectionKeys.LOSSES
        return config.should_save_step(mode, mode_step) or (
            plainly and self.save_config.should_save_step(mode, mode_step)
        )

    def _collections_to_save(self) -> list[str]:
        if CollectionKeys.ALL in self.include_collections:
            return list(self.get_collections())
        return list(dict.fromkeys(self.include_collections))

    def _kept_of(self, collection: Collection) -> Kept:
        reductions = collection.reduction_config or self.reduction_config
        if collection.name == CollectionKeys.LOSSES:
            reductions = ReductionConfig(save_raw_tensor=True)
        patterns = [*collection.include_regex, *self._module_patterns(collection)]
        return Kept(
            collection.name,
            patterns=tuple(re.compile(pattern) for pattern in patterns),
            names=frozenset(collection.tensor_names),
            whole=reductions.save_raw_tensor,
            reductions=reductions.kinds,
            shape=reductions.save_shape,
        )

    def _module_patterns(self, collection: Collection) -> list[str]:
        if self._module is None or not collection.modules:
            return []
        paths = {id(m): path for path, m in self._module.named_modules()}
        found = []
        for module, (inputs, outputs) in collection.modules.items():
            path = paths.get(id(module), "") or type(module).__name__
            found += [f"^{re.escape(path)}_input_"] * inputs
            found += [f"^{re.escape(path)}_output_"] * outputs
        return found

    # -- what a script saves itself ---------------------------------------------------------

    def save_scalar(
        self, name: str, value: Any, sm_metric: bool = False, timestamp: float | None = None
    ) -> None:
        """Save a figure with the step under way, as `scalar/<name>`.

        Raises:
            SMDebugTypeError: it is no single figure.
        """
        del sm_metric
        try:
            figure = float(value.item() if isinstance(value, Tensor) else value)
        except (TypeError, ValueError, RuntimeError) as error:
            raise SMDebugTypeError(
                f"scalar/{name} has non scalar value of type: {type(value)}"
            ) from error
        saved = (self.SCALAR_PREFIX + name, figure, timestamp or time.time())
        if self._saver is None or self.step < 0:
            self._early.append(saved)
        elif self._writes:
            self._saver.write_value(*saved)

    def record_tensor_value(self, tensor_name: str, tensor_value: Any) -> None:
        """Save what a function such as `F.cross_entropy` gave, as `<name>_output_0`.

        Raises:
            SMDebugTypeError: it is no tensor.
        """
        if not isinstance(tensor_value, Tensor):
            raise SMDebugTypeError(f"tensor_value={tensor_value} must be torch.Tensor")
        if self._saver is not None and self._saver.saving:
            self._saver.take_output(tensor_name, tensor_value)

    def save_tensor(
        self, tensor_name: str, tensor_value: Any, collections_to_write: Any = "default"
    ) -> None:
        """Save a tensor with the step under way, and note it in collections."""
        names = [collections_to_write] if isinstance(collections_to_write, str) else None
        for name in names or list(collections_to_write):
            self.get_collection(name).add_tensor_name(tensor_name)
        tensor = tensor_value if isinstance(tensor_value, Tensor) else torch.as_tensor(tensor_value)
        if self._saver is not None and self._writes:
            self._saver.take(tensor_name, tensor, always=True)

    # -- collections ------------------------------------------------------------------------

    def get_collection(self, name: str, create: bool = True) -> Collection:
        """A collection, made where there is none."""
        return self.collection_manager.get(name, create=create)

    def get_collections(self) -> dict[str, Collection]:
        """All collections."""
        return self.collection_manager.get_collections()

    def add_collection(self, collection: Any) -> None:
        """Add one.

        Raises:
            SMDebugTypeError: it is none.
        """
        if not isinstance(collection, Collection):
            raise SMDebugTypeError(
                f"collection must be an instance of Collection class. value of type "
                f"{type(collection)} is not supported"
            )
        self.collection_manager.add(collection)

    # -- opening and closing ----------------------------------------------------------------

    @property
    def _off(self) -> bool:
        return self._closed or self._failed or self.dry_run or self._owner != os.getpid()

    @property
    def _writes(self) -> bool:
        return not self._off and self._saver is not None

    def _open(self, module: nn.Module, folder: Path | None = None) -> Engine:
        """Begin to watch and to save; `folder` is the run's."""
        folder = folder or _run_folder(self.out_dir)
        engine = Engine(module, loss=self._criterion, folder=folder)
        engine.collector.told_of_loss = self._saw_loss
        if self._mode_set:
            engine.set_mode(_engine_mode(self.mode))
        if engine.rank == 0 or self.include_workers == "all":
            self._saver = self._make_saver(module, engine)
        self._engine, self._module = engine, module
        names = ", ".join(self._collections_to_save())
        self.logger.info("Monitoring the collections: %s", names)
        return engine

    def _make_saver(self, module: nn.Module, engine: Engine) -> Saver:
        inner, compiled = unwrapped(module)
        workers = int(os.environ.get("WORLD_SIZE", "1")) if self.include_workers == "all" else 1
        writer = SavedWriter(
            engine.log_folder / "saved", worker=f"worker_{engine.rank}", workers=workers
        )
        self._write_collections(writer)
        saver = Saver(
            inner if compiled else module, writer, self._due, self._fail, modules=not compiled
        )
        saver.warn = self.logger.warning
        return saver

    def attach(self, module: nn.Module, folder: Path) -> Engine:
        """Watch a model whose call is under way, of which a script said nothing."""
        engine = self._open(module, folder)
        callback = Callback(self._before_forward, self._fail)
        self._handles.append(module.register_forward_pre_hook(callback))
        return engine

    def _write_collections(self, writer: SavedWriter) -> None:
        writer.write_collections(self.collection_manager.to_json_dict())

    def close(self) -> None:
        """The training is over: write what is left."""
        if self._closed or self._owner != os.getpid():
            return
        self._closed = True
        for handle in self._handles:
            handle.remove()
        self._handles = []
        if self._saver is not None:
            try:
                self._saver.close()
                self._write_collections(self._saver.writer)
            except Exception as error:
                self._fail(error)
        if self._engine is not None:
            self._engine.close()

    def _at_exit(self) -> None:
        if self._owner == os.getpid():
            self.close()

    def _fail(self, error: BaseException) -> None:
        """A fault of ours ends the saving and nothing else."""
        if not self._failed:
            self._failed = True
            self.logger.warning(
                "The hook failed and saves no longer: %s: %s", type(error).__name__, error
            )

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __repr__(self) -> str:
        return (
            f"<smdebug.pytorch.Hook out_dir={self.out_dir!r} step={self.step} mode={self.mode}"
            f" include_collections={self.include_collections}>"
        )


def _engine_mode(mode: ModeKeys) -> str | None:
    """What Houndsight's hook calls it: forwards without a backward pass count as that."""
    named: Mapping[ModeKeys, str] = {ModeKeys.EVAL: "eval", ModeKeys.PREDICT: "predict"}
    return named.get(mode)


def _run_folder(out_dir: str) -> Path:
    """Where the run is: the job's, in a job; of two hosts that each train, the first's."""
    run = os.environ.get(RUN)
    if not run:
        return Path(out_dir)
    host, hosts = os.environ.get("SM_CURRENT_HOST", ""), os.environ.get("SM_HOSTS", "")
    alone = "WORLD_SIZE" not in os.environ
    if alone and host and hosts and f'"{host}"' in hosts and not hosts.startswith(f'["{host}"'):
        return Path(run) / "hosts" / host
    from houndsight.debugger.watch.slots import claim

    folder = claim(Path(run), 1)
    return folder or Path(run) / "hosts" / f"process-{os.getpid()}"
