"""Checkpoints of a run: one numbered folder a step under `checkpoints/`, written by orbax.

A checkpoint is complete or absent (it is written beside and renamed), is written in the
background, and holds the items `params`, `average` (where the running average is on), `kept`
(where particles are held out), `optimiser`, `guard` (rate scale and steps skipped; since format 2) and
`about` (JSON: format version, step and, since format 3, whether the held-out particles ended the run there).
What goes wrong in the background is raised by the next call.
Restoring needs a template whose leaves carry shape, dtype and sharding, so that a run resumes on
another number of devices; whatever does not fit the template is an error. A checkpoint that cannot be
read is passed over for the one before, with a warning; a run that goes on sets it aside. What says nothing of the
checkpoint (exhausted memory, missing permission, a disk that does not answer) is raised, and no checkpoint passed over.

Beside them `epochs/` holds the parameters, and nothing else, as they were after some epochs, numbered by these. Where
an epoch is done again, what was kept of it is `before_EPOCH` until the new parameters are whole.
"""

from __future__ import annotations

import errno
import gc
import logging
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.sharding import Mesh, SingleDeviceSharding

from libhetero.configuration import from_dict, read_json
from libhetero.errors import ConfigurationError, DataError
from libhetero.files import first_line, require_space, writing
from libhetero.training.configuration import TrainingConfig
from libhetero.training.log import GO_ON
from libhetero.training.optimiser import Kept, TrainingState
from libhetero.training.sharding import is_writer, place_replicated, replicated, wait_for_all

LOGGER = logging.getLogger(__name__)
FORMAT_VERSION = 3
READABLE = (1, 2, 3)
BEFORE = "before_"  # of the name of an epoch's parameters while they are replaced
PAGE = 2**12  # bytes
ROOM = 2**20  # bytes, for metadata and for what others write meanwhile
ELSEWHERE = {  # numbers of the system's errors that say nothing of what is in a file
    *(errno.EACCES, errno.EPERM, errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.EIO, errno.ESTALE, errno.ETIMEDOUT),
    *(errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC, errno.EDQUOT, errno.ENOTCONN),
}
OF_SYSTEM = re.compile(r"(?:OS error |os_error_code=')(\d+)")  # as tensorstore tells of them

Found = TypeVar("Found")


@dataclass(frozen=True)
class About:
    """What a checkpoint says of itself."""

    format_version: int
    step: int
    ended: bool = False


@dataclass(frozen=True, eq=False)
class Restored:
    """The parameters to use, and where training had come to.

    Parameters
    ----------
    params : on the first device.
    step : steps done.
    kept_epoch : the epoch that the held-out particles have chosen them from; 0 where they are those of `step`.
    ended : whether the held-out particles ended the run there.
    """

    params: Any
    step: int
    kept_epoch: int = 0
    ended: bool = False


class CheckpointFolder:
    """The checkpoints of one run.

    Parameters
    ----------
    folder : where the numbered folders lie; made when the first checkpoint is written.
    keep : how many of the last ones to keep; None for all.
    """

    def __init__(self, folder: Path, keep: int | None = 2) -> None:
        self.folder = Path(folder).resolve()
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, create=False, cleanup_tmp_directories=False)
        self._options = options
        self._manager: ocp.CheckpointManager | None = None

    def __enter__(self) -> CheckpointFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with writing(self.folder, GO_ON):
                self._close()
        except DataError as failure:
            if error is None:
                raise
            LOGGER.debug("%s", failure)  # the first error is the one to raise

    def _close(self) -> None:
        """Wait for what is being written."""
        if self._manager is not None:
            self._manager.close()

    def remove_unfinished(self) -> None:
        """Remove what a killed process left half written; only whoever writes the run may call this."""
        if is_writer():
            for path in self.folder.glob("*.orbax-checkpoint-tmp*"):
                shutil.rmtree(path, ignore_errors=True)

    def latest(self) -> int | None:
        """Return the step of the last complete checkpoint, None when there is none."""
        return self._open().latest_step() if self.folder.is_dir() else None

    def save(self, state: TrainingState, ended: bool = False) -> None:
        """Write a checkpoint of `state` in the background.

        Parameters
        ----------
        ended : whether the held-out particles have ended the run there.
        """
        step = int(state.step)
        with writing(self.folder, GO_ON):
            self.folder.mkdir(parents=True, exist_ok=True)
            if self._open().latest_step() != step:
                self._open().wait_until_finished()  # so that what is free now stays free
                require_space(self.folder, _space(state), "a checkpoint", GO_ON)
                self._open().save(step, args=ocp.args.Composite(**_items(state, step, ended)))

    def wait(self) -> None:
        """Return once every checkpoint is complete."""
        if self._manager is not None:
            with writing(self.folder, GO_ON):
                self._manager.wait_until_finished()

    def restore(self, like: TrainingState, mesh: Mesh) -> TrainingState:
        """Read the last checkpoint that can be read into a state shaped as `like`, the same on every device.

        Those after it are damaged, and are set aside as `damaged_STEP`.

        Raises
        ------
        DataError : if there is no checkpoint, or none fits `like`.
        """
        state = self._from_last(lambda step: self._restore(step, like, mesh))
        damaged = [step for step in self._open().all_steps() if step > int(state.step)]
        for step in damaged if is_writer() else ():
            with writing(self.folder, GO_ON):
                (self.folder / str(step)).rename(self._aside(step))
        if damaged:
            wait_for_all(f"damaged checkpoints set aside at {damaged}")
            self._open().reload()
        return state

    def _restore(self, step: int, like: TrainingState, mesh: Mesh) -> TrainingState:
        sharding = replicated(mesh)
        wanted = {"params": like.params, "optimiser": like.optimiser}
        if like.average is not None:
            wanted["average"] = like.average
        if like.kept is not None:
            wanted["kept"] = vars(like.kept)
        if self._about(step).format_version > 1:
            wanted["guard"] = _guard(like)
        found = self._read(step, {name: _template(tree, sharding) for name, tree in wanted.items()})
        count, one, none = place_replicated((np.int32(step), np.float32(1), np.int32(0)), mesh)
        return TrainingState(
            step=count,
            params=self._finite(step, "params", found["params"]),
            optimiser=found["optimiser"],
            average=found.get("average"),
            **found.get("guard", {"rate_scale": one, "skipped": none}),
            kept=Kept(**found["kept"]) if "kept" in found else None,
        )

    def restore_params(self, like: Any, config: TrainingConfig) -> Any:
        """Read only the parameters to use from the last checkpoint that can be read, onto the first device.

        Parameters
        ----------
        like : parameters of the model, or their shapes and dtypes.
        config : the run's; it says which parameters are the ones to use.
        """
        return self.restored(like, config).params

    def restored(self, like: Any, config: TrainingConfig) -> Restored:
        """Read the same, with where training had come to."""
        return self._from_last(lambda step: self._restored(step, like, config))

    def restored_step(self, step: int, like: Any, config: TrainingConfig) -> Restored | None:
        """Read the same of one step; None where there is no checkpoint of it."""
        found = self.folder.is_dir() and step in self._open().all_steps()
        return self._restored(step, like, config) if found else None

    def steps(self) -> list[int]:
        """Return the steps of which there are checkpoints, in rising order."""
        return sorted(self._open().all_steps()) if self.folder.is_dir() else []

    def _restored(self, step: int, like: Any, config: TrainingConfig) -> Restored:
        ended = self._about(step).ended
        sharding = SingleDeviceSharding(jax.local_devices()[0])
        if config.test_fraction:
            shapes = (np.zeros((), np.float32), np.zeros((), np.int32), like)
            kept = Kept(**self._read(step, {"kept": _template(vars(Kept(*shapes)), sharding)})["kept"])
            if int(kept.epoch):
                return Restored(self._finite(step, "kept", kept.params), step, int(kept.epoch), ended)
        name = "average" if config.ema_decay else "params"
        params = self._finite(step, name, self._read(step, {name: _template(like, sharding)})[name])
        return Restored(params, step, ended=ended)

    def _open(self) -> ocp.CheckpointManager:
        if self._manager is None:
            self._refuse_what_is_no_file()
            _silence()
            try:
                self._manager = ocp.CheckpointManager(self.folder, options=self._options)
            except (ValueError, TypeError, KeyError, AttributeError) as error:  # of what any step says of itself
                raise self._undescribed(error) from error
        return self._manager

    def _refuse_what_is_no_file(self) -> None:
        """Refuse pipes and devices among the checkpoints, which would be waited for without end."""
        for path in sorted(self.folder.glob("[0-9]*/_*")):
            if _is_no_file(path):
                raise DataError(f"{path}: expected a file, found a pipe or a device; remove it.")

    def _undescribed(self, error: Exception) -> DataError:
        """Return the line for a step whose description is damaged, without which none can be listed."""
        for path in sorted(self.folder.glob("[0-9]*/_CHECKPOINT_METADATA")):
            try:
                read_json(path)
            except ConfigurationError as damaged:
                return DataError(f"{damaged} To go on from the checkpoint before, remove the folder {path.parent}.")
        return DataError(f"{self.folder}: cannot be listed ({first_line(error)}); restore it, or train the run again.")

    def _aside(self, step: int) -> Path:
        """Return a free name for a damaged checkpoint."""
        names = (f"damaged_{step}", *(f"damaged_{step}_{number}" for number in range(2, 100)))
        return next(self.folder / name for name in names if not (self.folder / name).exists())

    def _from_last(self, read: Callable[[int], Found]) -> Found:
        """Return read(step) of the last checkpoint that can be read; the first error if there is none."""
        first: DataError | None = None
        for step in sorted(self._open().all_steps(), reverse=True):
            if first is not None:
                LOGGER.warning("%s", first)
                LOGGER.warning("going back to the checkpoint of step %d", step)
            try:
                return read(step)
            except _UnreadableError as error:
                first = first or error
        raise first or DataError(f"{self.folder}: holds no complete checkpoint; train the run first.")

    def _about(self, step: int) -> About:
        """Return what a checkpoint says of itself.

        Raises
        ------
        DataError : if its format is one that is not read here.
        """
        try:
            about = from_dict(About, self._read(step, {})["about"])
        except ConfigurationError as error:
            raise self._unreadable(step, str(error)) from None
        if about.format_version not in READABLE:
            raise DataError(
                f"{self.folder / str(step)}: checkpoint format {about.format_version}; this version reads "
                f"{', '.join(map(str, READABLE))}. Use the version that wrote it."
            )
        return about

    def _read(self, step: int, templates: dict[str, Any]) -> ocp.args.Composite:
        arguments = {name: ocp.args.StandardRestore(tree) for name, tree in templates.items()}
        arguments["about"] = ocp.args.JsonRestore()
        odd = next(filter(_is_no_file, sorted(self.place(step).rglob("*"))), None)
        if odd is not None:  # a device may be read without end
            raise self._unreadable(step, f"{odd.name} is a pipe or a device")
        try:
            return self._restore_items(step, ocp.args.Composite(**arguments))
        except Exception as error:  # orbax raises whatever it meets in damaged files, and Exception itself
            exhausted = next(filter(_is_exhausted, _causes(error)), None)
            if exhausted is not None:
                raise exhausted from None
            elsewhere, reason = any(map(_is_elsewhere, _causes(error))), first_line(error)
        _collect_unseen()
        if elsewhere:
            raise DataError(
                f"{self.folder / str(step)}: the checkpoint cannot be read now ({reason}); it is left as it is. Check "
                "the disk and the permissions, and start the program again."
            )
        raise self._unreadable(step, reason)

    def place(self, step: int) -> Path:
        """Return the folder in which a step is read."""
        return self.folder / str(step)

    def _restore_items(self, step: int, items: ocp.args.Composite) -> ocp.args.Composite:
        """Read some items of a step; what Orbax raises passes."""
        return self._open().restore(step, args=items)

    def _finite(self, step: int, name: str, params: Any) -> Any:
        """Return parameters, which training writes only where they are finite."""
        if not all(np.isfinite(np.asarray(leaf)).all() for leaf in jax.tree.leaves(params)):
            raise self._unreadable(step, f"{name}: not all numbers are finite")
        return params

    def _unreadable(self, step: int, reason: str) -> _UnreadableError:
        return _UnreadableError(
            f"{self.folder / str(step)}: the checkpoint is damaged or does not fit this model ({reason}); use the "
            "configuration it was trained with, or the checkpoint before."
        )


class EpochFolder(CheckpointFolder):
    """The parameters after some epochs of a run, each in a folder of its number.

    They are not written by Orbax's manager of checkpoints: that keeps no number below its last one, and tells JAX its
    numbers as steps of the run, from which JAX derives the step at which all processes stop when the system asks.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, keep=None)
        self._writer: ocp.AsyncCheckpointer | None = None
        self._saved = 0  # so often; an epoch may be, twice, where training goes back

    def __enter__(self) -> EpochFolder:
        return self

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._settle()
        super()._close()

    def wait(self) -> None:
        """Return once the parameters are written."""
        if self._writer is not None:
            with writing(self.folder, GO_ON):
                self._writer.wait_until_finished()
                self._settle()

    def remove_unfinished(self) -> None:
        """Remove what a killed process left half written, and put back what was to be replaced by it."""
        super().remove_unfinished()
        self._settle()

    def save_epoch(self, state: TrainingState, epoch: int) -> None:
        """Write the parameters of `state` in the background.

        Those of the same epoch from before stay, as `before_EPOCH`, until these are whole.
        """
        with writing(self.folder, GO_ON):
            self.folder.mkdir(parents=True, exist_ok=True)
            if self._writer is None:
                _silence()
                self._writer = ocp.AsyncCheckpointer(ocp.CompositeCheckpointHandler())
            self.wait()
            params, place = state.current(), self.folder / str(epoch)
            require_space(self.folder, _space(params), "the parameters of an epoch", GO_ON)
            if is_writer() and place.exists():
                place.rename(self._before(epoch))
            self._saved += 1
            wait_for_all(f"room for epoch {epoch}, number {self._saved} that is kept from step {int(state.step)}")
            about = {"format_version": FORMAT_VERSION, "step": int(state.step)}
            items = {"params": _saved(params), "about": ocp.args.JsonSave(about)}
            self._writer.save(place, args=ocp.args.Composite(**items))

    def _before(self, epoch: int) -> Path:
        return self.folder / f"{BEFORE}{epoch}"

    def _settle(self) -> None:
        """Remove parameters of before that others have replaced; where a kill came first, they are those kept."""
        for before in self.folder.glob(f"{BEFORE}[0-9]*") if is_writer() else ():
            place = self.folder / before.name.removeprefix(BEFORE)
            if place.exists():
                shutil.rmtree(before, ignore_errors=True)
            else:
                before.rename(place)

    def steps(self) -> list[int]:
        """Return the epochs that are kept, in rising order."""
        names = (path.name.removeprefix(BEFORE) for path in self.folder.glob("*"))
        return sorted({int(name) for name in names if name.isdecimal()})

    def place(self, step: int) -> Path:
        """Return the folder in which an epoch is read: that of before, where its successor is not whole."""
        place = super().place(step)
        return place if place.exists() else self._before(step)

    def _restore_items(self, step: int, items: ocp.args.Composite) -> ocp.args.Composite:
        with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as reader:
            return reader.restore(self.place(step), args=items)

    def restored_epoch(self, epoch: int, like: Any) -> Restored | None:
        """Read the parameters after an epoch onto the first device; None where they were not kept."""
        if epoch not in self.steps():
            return None
        template = _template(like, SingleDeviceSharding(jax.local_devices()[0]))
        step = self._about(epoch).step
        return Restored(self._finite(epoch, "params", self._read(epoch, {"params": template})["params"]), step)


def last_step(folder: Path) -> int | None:
    """Return the step of the last checkpoint of a run by the name of its folder; None where there is none."""
    return max((int(path.name) for path in Path(folder).glob("[0-9]*") if path.name.isdecimal()), default=None)


def last_about(folder: Path) -> About | None:
    """Return what the last checkpoint of a run says of itself; None where there is none, or it cannot be read.

    No other process is waited for, and nothing but that is read.
    """
    step = last_step(folder)
    if step is None:
        return None
    try:
        return from_dict(About, read_json(Path(folder) / str(step) / "about" / "metadata"))
    except ConfigurationError:
        return None


def _silence() -> None:
    """Keep Orbax from telling what it raises, too, and what it has broken off."""
    for name in ("absl", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if not isinstance(sys.unraisablehook, _LateReads):
        sys.unraisablehook = _LateReads(sys.unraisablehook)


@dataclass(frozen=True)
class _LateReads:
    """Takes what Python cannot raise: reads that end after the one that failed, and with it their event loop.

    They end in threads of their own, at any time after; all else goes to the hook of before.

    Attributes
    ----------
    usual : that hook.
    """

    usual: Callable[[Any], object]

    def __call__(self, left: Any) -> None:
        """Take one."""
        late = isinstance(left.exc_value, RuntimeError) and str(left.exc_value) == "Event loop is closed"
        if late:
            LOGGER.debug("a read of a checkpoint ended after another had failed")
        else:
            self.usual(left)


class _UnreadableError(DataError):
    """A checkpoint is damaged, or does not fit what it is read into: orbax does not tell which."""


def _is_no_file(path: Path) -> bool:
    """Return whether something stands there that is neither a file nor a folder."""
    return path.exists() and not (path.is_file() or path.is_dir())


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those that it was raised of."""
    waiting, met = [error], set[int]()
    while waiting:
        one = waiting.pop()
        if id(one) not in met:
            met.add(id(one))
            yield one
            inner = one.exceptions if isinstance(one, BaseExceptionGroup) else ()
            waiting += [cause for cause in (one.__cause__, one.__context__, *inner) if cause is not None]


def _is_exhausted(error: BaseException) -> bool:
    """Return whether memory of the machine or of a device ran out."""
    device = isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" in str(error)
    return device or isinstance(error, MemoryError)


def _is_elsewhere(error: BaseException) -> bool:
    """Return whether an error is of the system or a device, and says nothing of what is in a file."""
    if isinstance(error, jax.errors.JaxRuntimeError) or "RESOURCE_EXHAUSTED" in str(error):
        return True
    told = OF_SYSTEM.search(str(error))
    number = error.errno if isinstance(error, OSError) else int(told[1]) if told else None
    return number in ELSEWHERE


def _collect_unseen() -> None:
    """Collect what a failed read leaves: other reads of orbax that it has broken off, each with a traceback.

    The first error is told; these would be printed, out of nowhere, whenever they are collected.
    """
    usual = sys.unraisablehook
    sys.unraisablehook = lambda left: LOGGER.debug("left of a checkpoint that was not read: %s", left.exc_value)
    try:
        gc.collect()
    finally:
        sys.unraisablehook = usual


def _space(tree: Any) -> int:
    """Return the bytes that arrays may take on the disk, with a page for the end of each and its names."""
    leaves = jax.tree.leaves(tree)
    return sum(leaf.nbytes + PAGE for leaf in leaves) + ROOM


def _items(state: TrainingState, step: int, ended: bool) -> dict[str, Any]:
    items = {
        "params": _saved(state.params),
        "optimiser": _saved(state.optimiser),
        "guard": _saved(_guard(state)),
        "about": ocp.args.JsonSave({"format_version": FORMAT_VERSION, "step": step, "ended": ended}),
    }
    if state.average is not None:
        items["average"] = _saved(state.average)
    if state.kept is not None:
        items["kept"] = _saved(vars(state.kept))
    return items


def _saved(tree: Any) -> ocp.args.StandardSave:
    """Return how Orbax is to write arrays that are the same on every device: whole, by one process.

    Of arrays on devices, Orbax has each of these write a slice. The slicing is compiled anew for each shape and place,
    which takes seconds of a run's first checkpoint.
    """
    return ocp.args.StandardSave(jax.tree.map(lambda leaf: np.asarray(leaf.addressable_data(0)), tree))


def _guard(state: TrainingState) -> dict[str, Any]:
    return {"rate_scale": state.rate_scale, "skipped": state.skipped}


def _template(tree: Any, sharding: jax.sharding.Sharding) -> Any:
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(np.shape(leaf), leaf.dtype, sharding=sharding), tree)
