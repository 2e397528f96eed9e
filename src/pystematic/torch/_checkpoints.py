"""`Checkpoints`: what a context saves of a run, and how a resumed run gets it back, name by name.

Joins `_state` (out of objects and into them), `_saver` (files), and the run (recorder, steps, other ranks). Works
without torch.
"""

from __future__ import annotations

import os
import sys
import threading

from pystematic import rundir
from pystematic._words import english_list, short
from pystematic.errors import ExperimentError
from pystematic.torch import _state
from pystematic.torch._checkpoint import FORMAT
from pystematic.torch._saver import Saver, generator_states, restore_generators

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from pystematic.run import ActiveRun
    from pystematic.torch._data import DataLoader


# Running means are registered under names that no assignment can have.
MEAN_PREFIX = "mean:"
builtins_id = id  # which is also what a checkpoint's name is called


class Checkpoints:
    """Saves and restores one context's run.

    Args:
        context: the `Context`, which makes this object.
        run: its run.
    """

    def __init__(self, context: Any, run: ActiveRun) -> None:
        self._context = context
        self._run = run
        self._saver: Saver | None = None
        self._syncing: threading.Thread | None = None
        self._state: Mapping[str, Any] | None = run.restored
        # The recorder of the run has its state already.
        self._left: set[str] = set() if self._state is None else set(self._state["state"]) - {"recorder"}
        self._generators_pending = self._state is not None
        self._said: set[str] = set()
        self._has_checked_names = False
        # For each loader the number of its next epoch when the epoch of the context was set.
        self._epochs_before: dict[int, int] = {}
        self.uses_epochs = False
        # The last epoch whose end was saved, and where the series ended then.
        self._saved_end: tuple[int, int] | None = None
        self._has_said_late = False
        if self._state is not None and run.rank == 0:
            rundir.remove_leftovers(run.run_dir)

    # -- saving --------------------------------------------------------------------------------------------------

    def save(self, id: Any = None, metric: float | None = None) -> None:
        """Save the state of everything registered; all processes call it."""
        run, context = self._run, self._context
        run.recorder.flush()
        step = int(getattr(context.recorder, "count", run.recorder.count))
        name = str(step if id is None else id)
        if os.path.basename(name) != name or not name.isprintable() or name in ("", ".", ".."):
            raise ValueError(f"the id {id!r} of a checkpoint becomes part of a file name; it cannot be {name!r}")
        mine: dict[str, Any] = {
            "generators": generator_states(),
            "series": self._series_sizes(),
            "metric": self._metric_value(metric),
            "means": {name: mean.state_dict() for name, mean in self._means()},
        }
        ranks: list[Any] = [mine]
        if run.world_size > 1:
            import torch.distributed as dist  # there are several processes

            ranks = [None] * run.world_size
            dist.all_gather_object(ranks, mine)
        run.stop.has_saved = True
        if run.rank != 0:
            self._sync_series()
            return
        offsets: dict[str, int] = {}
        for one in ranks:
            offsets.update(one["series"])
        rated = [one["metric"] for one in ranks if one["metric"] is not None]
        has_ended = self._has_epoch_ended()
        self._saved_end = (context.epoch, mine["series"][run.run_dir.metrics_file(0).name]) if has_ended else None
        state_by_name = self._take_states()
        for mean_name in mine["means"]:  # each process has those of its own samples
            parts = [one["means"][mean_name] for one in ranks if mean_name in one["means"]]
            state_by_name[mean_name] = {key: sum(part[key] for part in parts) for key in ("sum", "count")}
        state = {
            "pystematic": FORMAT,
            "run": run.run_dir.id,
            "step": step,
            "epoch": context.epoch,
            "epoch_ended": has_ended,
            "mid_epoch": any(loader.is_mid_epoch and loader.state_dict()["consumed"] for loader in self._loaders()),
            "world_size": run.world_size,
            "seeds": run.seeds.state_dict(),
            "generators": [one["generators"] for one in ranks],
            "series": offsets,
            "scaler": context.scaler_state(),
            "state": state_by_name,
        }
        entry = {
            "id": name,
            "step": step,
            "epoch": context.epoch,
            "metric_value": sum(rated) / len(rated) if rated else None,
            "world_size": run.world_size,
        }
        self._make_saver().save(state, entry)

    def _sync_series(self) -> None:
        """Have the disk take what this process has recorded, beside the loop; rank 0's saver does it for its own."""
        if self._syncing is None:
            self._run.before_end.append(self.wait)
        else:
            self._syncing.join()
        recorder = self._run.recorder
        self._syncing = threading.Thread(target=lambda: recorder.flush(sync=True), name="pystematic-sync")
        self._syncing.start()

    def wait(self) -> None:
        """Wait until what was saved is on disk."""
        if self._saver is not None:
            self._saver.wait()
        if self._syncing is not None:
            self._syncing.join()

    def _make_saver(self) -> Saver:
        if self._saver is None:
            parameters = self._run.parameters
            self._saver = Saver(
                self._run.run_dir,
                keep_last=int(parameters.get("keep_last") or 2),
                keep_best=int(parameters.get("keep_best", 1) or 0),
                metric=_split(self._run.metric),
                warn=_warn,
                sync_series=lambda: self._run.recorder.flush(numbers_only=True, sync=True),
            )
            self._run.before_end.append(self.wait)
        return self._saver

    def _series_sizes(self) -> dict[str, int]:
        run_dir = self._run.run_dir
        own = run_dir.metrics_file(self._run.rank)
        paths = [own]
        if self._run.rank == 0:  # of children, which save nothing themselves
            paths += [path for path in run_dir.metrics_files() if path.name.startswith("metrics.pid-")]
        return {path.name: path.stat().st_size if path.exists() else 0 for path in paths}

    def _metric_value(self, given: float | None) -> float | None:
        if given is not None:
            return float(given)
        if self._run.metric is None:
            return None
        tag = self._run.metric.rpartition(":")[0]
        value: float | None = getattr(self._run.recorder, "last", lambda _: None)(tag)
        return value

    def begin_epoch(self) -> None:
        """Take note that the epoch of the context was set."""
        self._epochs_before = {builtins_id(loader): loader.epoch for loader in self._loaders()}
        if self._saved_end is not None and not self._has_said_late:
            self._say_what_is_late(*self._saved_end)
        self._saved_end = None

    def _say_what_is_late(self, epoch: int, size: int) -> None:
        """Say once what was recorded between the end of an epoch that was saved and the next epoch."""
        self._run.recorder.flush(numbers_only=True)
        file = self._run.run_dir.metrics_file(0)
        try:
            tags = dict.fromkeys(tag for columns in rundir.SeriesFile(file, size).read() for tag in columns[0])
        except OSError:  # nothing was recorded, or the disk is gone
            return
        tags = {tag: None for tag in tags if not tag.startswith(rundir.SYSTEM_PREFIX)}
        if tags:
            self._has_said_late = True
            named = [short(tag) for tag in tags][:3] + ([f"{len(tags) - 3} more"] if len(tags) > 3 else [])
            _warn(
                f"recorded after save_checkpoint() at the end of epoch {epoch}: {english_list(named)}. A run that goes "
                "on from that checkpoint begins with the next epoch and loses it. Save last in the epoch."
            )

    def _has_epoch_ended(self) -> bool:
        """Tell whether a run that goes on from here begins with the epoch after that of the context."""
        trained = [loader for loader in self._loaders() if loader.has_trained]
        if any(loader.is_mid_epoch for loader in trained):
            return False
        if not trained:  # nothing tells where in its epoch the program is: such ones save at the end
            return self.uses_epochs
        return any(loader.epoch > self._epochs_before.get(builtins_id(loader), 0) for loader in trained)

    def _loaders(self) -> list[DataLoader]:
        module = sys.modules.get("pystematic.torch._data")  # a loader of ours exists only if it is loaded
        if module is None:
            return []
        registered = dict(vars(self._context))
        return [item for _, item in _state.walk(registered, "") if isinstance(item, module.DataLoader)]

    def _means(self) -> Iterator[tuple[str, Any]]:
        for name, obj in vars(self._context).items():
            if name.startswith(MEAN_PREFIX):
                yield name, obj

    def _take_states(self) -> dict[str, Any]:
        """Return the states by name, and say once what has none that can be saved."""
        states = {}
        for name, obj in self._context.saved().items():
            why = f"is a {type(obj).__name__} without state_dict()"
            if _state.has_state(obj):
                state = _state.take_state(obj)
                foreign = _state.find_foreign(state)
                if foreign is None:
                    states[name] = state
                    continue
                why = f"has a state that only code could read back ({foreign})"
            if name not in self._said:
                self._said.add(name)
                _warn(f"context.{name} {why}; it is in no checkpoint.")
        return states

    # -- restoring -----------------------------------------------------------------------------------------------

    def restore(self, name: str, obj: Any) -> Any:
        """Give ``obj`` its saved state at its first assignment in a resumed run; return what is registered."""
        if self._state is None or name not in self._left:
            return obj
        self._left.discard(name)
        if name == "epoch":
            return self.first_epoch
        obj = _state.put_state(obj, self._state["state"][name], f"context.{name}")
        if "torch" in sys.modules:
            self._restore_groups_of_schedulers(name, obj)
        if name.startswith(MEAN_PREFIX):
            if self._run.rank > 0:  # the sums of all are in rank 0's
                obj.reset()
            if self._state.get("mid_epoch") and not self._run.uses_loader:
                obj.hold()
        elif self._run.rank == 0:
            print(f"restored context.{name}", file=sys.stderr)
        return obj

    def _restore_groups_of_schedulers(self, name: str, obj: Any) -> None:
        """Give optimizers the settings back that making a scheduler has changed."""
        assert self._state is not None
        import torch  # is loaded already

        from pystematic.torch import _placement

        for _, item in _state.walk(obj, name):
            optimizer = getattr(item, "optimizer", None)
            if not isinstance(item, torch.optim.lr_scheduler.LRScheduler) or optimizer is None:
                continue
            for path, own in _placement.optimizers_in(vars(self._context)).items():
                saved = _at(self._state["state"], path)
                if own is optimizer and isinstance(saved, dict):
                    for group, old in zip(own.param_groups, saved["param_groups"], strict=True):
                        for key, value in old.items():
                            if key != "params" and isinstance(group.get(key), torch.Tensor):
                                group[key].copy_(value)  # others may hold it too
                            elif key != "params":
                                group[key] = value

    def begin_training(self) -> None:
        """Put the generators back, or give each rank but the first its own; before the first training batch."""
        run = self._run
        self.check_names()
        for _, mean in self._means():
            mean.go_on()
        if self._generators_pending:
            self.restore_generators()
        elif run.rank > 0 and run.parameters.get("seed_libraries"):
            seed_generators(run.seeds.new_seed("training", 32, per_rank=True))

    @property
    def first_epoch(self) -> int:
        """The epoch that a resumed run goes on with; 0 in a new one."""
        return 0 if self._state is None else int(self._state["epoch"]) + bool(self._state["epoch_ended"])

    def begin_epochs(self) -> None:
        """Do what belongs before the first of the context's epochs."""
        self.uses_epochs = True
        self._left.discard("epoch")
        self.check_names()
        if not self._loaders():  # else at the first batch of one
            self.restore_generators()

    def check_names(self) -> None:
        """Check that all processes have registered the same, and say which names of a checkpoint nobody has assigned.

        Raises:
            ExperimentError: the names or the numbers of parameters differ between processes.
        """
        if self._has_checked_names:
            return
        self._has_checked_names = True
        if self._run.world_size > 1:
            self._check_ranks()
        if self._state is None or self._run.rank != 0:
            return
        left = {name for name in self._left if name != "epoch" and not name.startswith(MEAN_PREFIX)}
        if left:
            _warn(f"the checkpoint holds {', '.join(sorted(left))}, which nothing was assigned to before training.")
        saved = self._state["state"]
        added = [name for name, obj in self._context.saved().items() if name not in saved and _state.has_state(obj)]
        added = [name for name in added if name not in ("epoch", "recorder") and not name.startswith(MEAN_PREFIX)]
        if added:
            _warn(f"the checkpoint does not hold {', '.join(sorted(added))}, which begins anew.")

    def _check_ranks(self) -> None:
        import torch  # there are several processes
        import torch.distributed as dist

        registered = {}
        for name, obj in vars(self._context).items():
            size = sum(p.numel() for p in obj.parameters()) if isinstance(obj, torch.nn.Module) else 0
            registered[name] = (type(obj).__name__, size)
        all_registered: list[Any] = [None] * self._run.world_size
        dist.all_gather_object(all_registered, registered)
        for rank, other in enumerate(all_registered):
            if other != all_registered[0]:
                names = sorted(
                    name
                    for name in other.keys() | all_registered[0].keys()
                    if other.get(name) != all_registered[0].get(name)
                )
                raise ExperimentError(
                    f"rank {rank} has registered something else than rank 0: "
                    + "; ".join(f"context.{n} is {other.get(n)} there, {all_registered[0].get(n)} here" for n in names)
                    + ". All processes must assign the same names, with objects of the same kind."
                )

    def restore_generators(self) -> None:
        """Put the global generators back, once; done when a restored loader hands out its first batch."""
        if not self._generators_pending:
            return
        self._generators_pending = False
        assert self._state is not None
        states = self._state["generators"]
        if self._run.world_size == len(states):
            restore_generators(states[self._run.rank])
            return
        # Another number of processes: streams of their own, which depend on the step that they go on from.
        seed = self._run.seeds.new_seed(f"resume-{self._state['step']}", 32, per_rank=True)
        seed_generators(seed)


def seed_generators(seed: int) -> None:
    """Seed the global generators of random, NumPy and torch."""
    import random

    random.seed(seed)
    if (torch := sys.modules.get("torch")) is not None:
        torch.manual_seed(seed)
    if (numpy := sys.modules.get("numpy")) is not None:
        numpy.random.seed(seed % 2**32)


def _split(metric: str | None) -> tuple[str, str] | None:
    if metric is None:
        return None
    tag, _, direction = metric.rpartition(":")
    return tag, direction


def _at(tree: Any, path: str) -> Any:
    for part in path.split("."):
        try:
            tree = tree[int(part)] if isinstance(tree, list | tuple) else tree[part]
        except (KeyError, IndexError, ValueError, TypeError):
            return None
    return tree


def _warn(message: str) -> None:
    print(f"pystematic: {message}", file=sys.stderr)


def require_run(run: ActiveRun | None, what: str) -> ActiveRun:
    """Return the run that a context belongs to.

    Raises:
        ExperimentError: it belongs to none.
    """
    if run is None:
        raise ExperimentError(f"context.{what} belongs to a run, and none is active")
    return run
