"""What a run starts with, be it new or gone on with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import jax
import numpy as np
from jaxtyping import Int

from libhetero.models.family import ModelFamily
from libhetero.pipelines.run.configuration import RunConfig
from libhetero.records import Gaussians
from libhetero.training.feed import ParticleFeed
from libhetero.training.series import SeriesFeed, drawn_from


@dataclass(frozen=True, eq=False)
class RunStart:
    """What a run starts with.

    Parameters
    ----------
    config : its configuration, complete.
    feed : the particles as listed, their images prepared.
    trained_on : places of the particles that are trained on, in rising order; the others are held out.
    model : measured on a sample of them.
    gaussians : the starting mixture of a new run; None where it has none.
    stored : whether it is a run to go on with.
    """

    config: RunConfig
    feed: ParticleFeed
    trained_on: Int[np.ndarray, " particles"]
    model: ModelFamily
    gaussians: Gaussians | None = None
    stored: bool = False

    @cached_property
    def drawn(self) -> ParticleFeed | SeriesFeed:
        """What training draws from: the feed, or its particles where each has several images."""
        return drawn_from(self.feed)

    @property
    def views(self) -> int:
        """Images of each particle in a batch."""
        return self.drawn.views

    def __str__(self) -> str:
        """Return what there is to train on."""
        feed, count = self.feed, len(self.drawn)
        images = "" if count == len(feed) else f" in {len(feed)} images"
        return (
            f"{count} particles{images}, box {feed.box_size}, {feed.pixel_size:.4g} Å per pixel, "
            f"{jax.device_count()} device(s)"
        )
