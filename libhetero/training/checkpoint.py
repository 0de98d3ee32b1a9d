"""Checkpoints of a run: one numbered folder a step under `checkpoints/`, written by orbax.

A checkpoint is complete or absent (it is written beside and renamed), is written in the
background, and holds the items `params`, `average` (where the running average is on), `kept`
(where particles are held out), `optimiser`, and `about` (JSON: format version and step).
Restoring needs a template whose leaves carry shape, dtype and sharding, so that a run resumes on
another number of devices; whatever does not fit the template is an error.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from jax.sharding import Mesh, SingleDeviceSharding

from libhetero.errors import DataError
from libhetero.training.optimiser import Kept, TrainingConfig, TrainingState
from libhetero.training.sharding import place_replicated, replicated

FORMAT_VERSION = 1


class CheckpointFolder:
    """The checkpoints of one run.

    Parameters
    ----------
    folder : where the numbered folders lie; made when the first checkpoint is written.
    keep : how many of the last ones to keep.
    """

    def __init__(self, folder: Path, keep: int = 2) -> None:
        self.folder = Path(folder).resolve()
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep, create=False, cleanup_tmp_directories=False
        )
        self._options = options
        self._manager: ocp.CheckpointManager | None = None

    def __enter__(self) -> CheckpointFolder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._manager is not None:
            with _readable_errors(self.folder):
                self._manager.close()

    def latest(self) -> int | None:
        """Return the step of the last complete checkpoint, None when there is none."""
        return self._open().latest_step() if self.folder.is_dir() else None

    def save(self, state: TrainingState) -> None:
        """Write a checkpoint of `state` in the background."""
        step = int(state.step)
        with _readable_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            if self._open().latest_step() != step:
                self._open().save(step, args=ocp.args.Composite(**_items(state, step)))

    def wait(self) -> None:
        """Return once every checkpoint is complete."""
        if self._manager is not None:
            with _readable_errors(self.folder):
                self._manager.wait_until_finished()

    def restore(self, like: TrainingState, mesh: Mesh) -> TrainingState:
        """Read the last checkpoint into a state shaped as `like`, the same on every device.

        Raises
        ------
        DataError : if there is no checkpoint, or it does not fit `like`.
        """
        step = self._latest_or_fail()
        sharding = replicated(mesh)
        wanted = {"params": like.params, "optimiser": like.optimiser}
        if like.average is not None:
            wanted["average"] = like.average
        if like.kept is not None:
            wanted["kept"] = vars(like.kept)
        found = self._read(step, {name: _template(tree, sharding) for name, tree in wanted.items()})
        count = place_replicated(jnp.asarray(step, jnp.int32), mesh)
        kept = Kept(**found["kept"]) if "kept" in found else None
        average = found.get("average")
        return TrainingState(count, found["params"], found["optimiser"], average, kept)

    def restore_params(self, like: Any, config: TrainingConfig) -> Any:
        """Read only the parameters to use from the last checkpoint, onto the first device.

        Parameters
        ----------
        like : parameters of the model, or their shapes and dtypes.
        config : the run's; it says which parameters are the ones to use.
        """
        step = self._latest_or_fail()
        sharding = SingleDeviceSharding(jax.local_devices()[0])
        if config.test_fraction:
            shapes = (np.zeros((), np.float32), np.zeros((), np.int32), like)
            kept = Kept(**self._read(step, {"kept": _template(vars(Kept(*shapes)), sharding)})["kept"])
            if int(kept.epoch):
                return kept.params
        name = "average" if config.ema_decay else "params"
        return self._read(step, {name: _template(like, sharding)})[name]

    def _open(self) -> ocp.CheckpointManager:
        if self._manager is None:
            logging.getLogger("absl").setLevel(logging.ERROR)  # a line for every file otherwise
            self._manager = ocp.CheckpointManager(self.folder, options=self._options)
        return self._manager

    def _latest_or_fail(self) -> int:
        step = self.latest()
        if step is None:
            raise DataError(f"{self.folder}: holds no complete checkpoint; train the run first.")
        return step

    def _read(self, step: int, templates: dict[str, Any]) -> dict[str, Any]:
        arguments = {name: ocp.args.StandardRestore(tree) for name, tree in templates.items()}
        arguments["about"] = ocp.args.JsonRestore()
        try:
            found = self._open().restore(step, args=ocp.args.Composite(**arguments))
        except (ValueError, KeyError, TypeError, FileNotFoundError) as error:
            raise DataError(
                f"{self.folder / str(step)}: the checkpoint does not fit this model "
                f"({_first_line(error)}); use the configuration it was trained with."
            ) from error
        version = found["about"].get("format_version")
        if version != FORMAT_VERSION:
            raise DataError(
                f"{self.folder / str(step)}: checkpoint format {version}; this version reads "
                f"{FORMAT_VERSION}. Use the version that wrote it."
            )
        return {name: found[name] for name in templates}


def _items(state: TrainingState, step: int) -> dict[str, Any]:
    items = {
        "params": ocp.args.StandardSave(state.params),
        "optimiser": ocp.args.StandardSave(state.optimiser),
        "about": ocp.args.JsonSave({"format_version": FORMAT_VERSION, "step": step}),
    }
    if state.average is not None:
        items["average"] = ocp.args.StandardSave(state.average)
    if state.kept is not None:
        items["kept"] = ocp.args.StandardSave(vars(state.kept))
    return items


def _template(tree: Any, sharding: jax.sharding.Sharding) -> Any:
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(np.shape(leaf), leaf.dtype, sharding=sharding), tree
    )


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


@contextmanager
def _readable_errors(folder: Path) -> Iterator[None]:
    """Turn a full disk or a folder without write permission into one line."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC or "No space left" in str(error):
            raise DataError(
                f"no space left on the disk of {folder}; free some and go on with --resume."
            ) from error
        raise DataError(
            f"{folder}: cannot write a checkpoint ({_first_line(error)}); check the folder."
        ) from error
