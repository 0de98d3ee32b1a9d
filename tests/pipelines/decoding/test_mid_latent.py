"""Latents stream: of particles of several images one row each is held, however wide and in whatever order they are."""

import tracemalloc

import numpy as np
import pytest

from libhetero.analysis import streaming_pca
from libhetero.io import read_latent
from libhetero.pipelines.decoding import mid_latent
from libhetero.pipelines.decoding.mid_latent import LatentStream, write_mid
from libhetero.records import Posterior
from tests.making.series import MeanOfImages, series_feed

PARTICLES, VIEWS, AT_ONCE, WIDTH = 60, 6, 4, 20_000
MIXED = np.random.default_rng(1).permutation(np.repeat(np.arange(PARTICLES), VIEWS))


class _Stream(LatentStream):
    """A stream whose model is NumPy, so that every row of its latents is counted; a latent's numbers are alike."""

    def __init__(self, model, params, feed, batch_size):
        super().__init__(model, params, feed, batch_size)
        group = np.asarray(feed.particles.group)
        self._encode = lambda _, batch: np.repeat(
            group[np.asarray(batch.index)].astype(np.float32)[:, None], WIDTH, axis=1
        )
        self._posterior = self._all_of

    def _all_of(self, params, batch):
        latent, number = self._encode(params, batch), np.asarray(batch.index, np.float32)
        return Posterior(latent, np.broadcast_to(np.float32(np.nan), latent.shape), number, number, number)


def _rows_held(work):
    """Return how many rows of latents there were at once at most."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1] / (4 * WIDTH)
    finally:
        tracemalloc.stop()


def test_wide_latents_of_series_are_reduced_a_row_a_particle(tmp_path, monkeypatch) -> None:
    """Not a row for each of 360 images, in any order of these; what is of images comes in the order of the list."""
    passes, found = [], []

    def reduced(blocks, count, components):
        passes.append(count)
        return streaming_pca.reduce_stream(blocks, count, components, sample=12)

    monkeypatch.setattr(mid_latent, "LatentStream", _Stream)
    monkeypatch.setattr(mid_latent, "reduce_stream", reduced)
    monkeypatch.setattr(streaming_pca, "ROWS", 8)
    feed = series_feed(MIXED)

    def write():
        write_mid(tmp_path / "mid_00.txt", MeanOfImages(), {}, feed, AT_ONCE, encoded=found.append)

    assert _rows_held(write) < 12 + 8 * AT_ONCE * VIEWS
    assert passes == [PARTICLES]
    latent = read_latent(tmp_path / "mid_00.txt")[1]
    assert abs(np.corrcoef(latent[:, 0], MIXED)[0, 1]) > 0.999
    np.testing.assert_array_equal(found[0].contrast, np.arange(len(MIXED)))


@pytest.mark.parametrize("apart", [False, True])
def test_latents_come_in_the_order_wanted(apart) -> None:
    """Images that stand together are passed on; of others one row of each particle waits."""
    feed = series_feed(np.sort(MIXED))
    stream = _Stream(MeanOfImages(), {}, feed, AT_ONCE)
    wanted = np.arange(len(MIXED))
    if apart:
        wanted = wanted.reshape(PARTICLES, VIEWS).T.ravel()[::-1]
    found = []
    held = _rows_held(lambda: found.extend(block[:, 0].copy() for block in stream.blocks(wanted)))
    np.testing.assert_array_equal(np.concatenate(found), np.asarray(feed.particles.group)[wanted])
    assert held < AT_ONCE * (2 * VIEWS + 4) + PARTICLES * apart


def test_some_images_come_in_the_order_wanted_and_as_often() -> None:
    feed = series_feed(MIXED)
    stream = _Stream(MeanOfImages(), {}, feed, AT_ONCE)
    wanted = np.array([7, 300, 7, 3, 301, 300, 12, 13, 14, 15, 7])
    found = np.concatenate(list(stream.blocks(wanted)))
    np.testing.assert_array_equal(found[:, 0], MIXED[wanted])
    assert not list(stream.blocks(np.zeros(0, int)))
