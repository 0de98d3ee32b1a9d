"""Where the training of a run has come to: what programs say of the parameters that they use, and what they warn of."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from libhetero.pipelines.run.configuration import RunConfig
from libhetero.training.checkpoint import Restored
from libhetero.training.feed import steps_per_epoch
from libhetero.training.held_out import PATIENCE, split

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reached:
    """Where training has come to.

    Parameters
    ----------
    step : steps done.
    per_epoch : steps of an epoch.
    epochs : that were asked for.
    kept_epoch : the epoch from which the held-out particles have chosen the parameters; 0 where they are of `step`.
    ended : whether the held-out particles ended the run.
    chosen : whether the parameters of this epoch were asked for, in place of the last ones.
    """

    step: int
    per_epoch: int
    epochs: int
    kept_epoch: int = 0
    ended: bool = False
    chosen: bool = False

    @classmethod
    def of(cls, config: RunConfig, count: int, restored: Restored, chosen: bool = False) -> Reached:
        """Return where a run has come to.

        Parameters
        ----------
        config : of the run.
        count : of its particles.
        restored : from its checkpoints.
        chosen : as above.
        """
        trained_on, _ = split(count, config.training)
        per_epoch = steps_per_epoch(len(trained_on), config.training.batch_size)
        kept = restored.kept_epoch
        ended = restored.ended or bool(kept and restored.step // per_epoch - kept >= PATIENCE)
        return cls(restored.step, per_epoch, config.training.epochs, kept, ended, chosen=chosen)

    @property
    def finished(self) -> bool:
        """Whether nothing is left to train."""
        return self.ended or self.step >= self.epochs * self.per_epoch

    @property
    def epoch(self) -> str:
        """The epoch reached, in words: 7, or 7.25."""
        return f"{self.step / self.per_epoch:.4g}"

    def __str__(self) -> str:
        """Return which parameters are used."""
        at = f"epoch {self.epoch} of {self.epochs} (step {self.step})"
        if self.kept_epoch:
            return f"parameters of epoch {self.kept_epoch}, which fit the held-out particles best; trained to {at}"
        return f"parameters of {at}"

    @property
    def unfinished(self) -> str:
        """How far training is from its end, in words; "" where it is done, or an epoch was chosen."""
        if self.step == 0:
            return "training has done no step, so that nothing was learnt"
        if self.step < self.per_epoch:
            return f"training has hardly begun, {self.step} of the {self.per_epoch} steps of the first epoch are done"
        if self.finished or self.chosen:
            return ""
        return f"training is not finished, {self.epoch} of {self.epochs} epochs are done"

    def tell(self, folder: Path) -> None:
        """Say which parameters are used, and warn in one line where they are not those of a finished run."""
        LOGGER.info("%s: %s", folder, self)
        if self.unfinished:
            LOGGER.warning(
                "%s: %s; results are of the network as it is. Go on with e2hype_refine.py --resume %s.",
                *(folder, self.unfinished, folder),
            )

    def facts(self) -> list[str]:
        """Return a line for a page that shows what these parameters give."""
        beware = f" Beware: {self.unfinished}; what is shown is of the network as it was." if self.unfinished else ""
        return [f"With the {self}.{beware}"]
