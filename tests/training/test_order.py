"""The order of large sets: every particle once an epoch, from few chunks at a time, the same for everybody."""

import dataclasses
import os
import signal

import jax
import numpy as np
import pytest

from libhetero.errors import DataError
from libhetero.training import placing, sharding
from libhetero.training.chunks import ChunkedBatches
from libhetero.training.feed import ParticleFeed
from libhetero.training.held_out import split
from libhetero.training.loop import train
from libhetero.training.optimiser import TrainingConfig
from libhetero.training.order import ChunkedOrder, Pool
from tests.making.feeds import BOX, make_feed
from tests.making.toys import Toy

COUNT, SIZE, CHUNK = 103, 8, 5
STEPS = 13


def make_order(seed: int = 1, count: int = COUNT) -> ChunkedOrder:
    return ChunkedOrder(np.arange(count)[::-1].copy(), SIZE, CHUNK, seed)


def small_pool(feed: ParticleFeed, chunk: int = CHUNK) -> ParticleFeed:
    """The same feed with a pool that holds so many images a row of a batch."""
    return dataclasses.replace(feed, pool=Pool(particles=0, size=4 * BOX**2 * SIZE * chunk))


def test_every_epoch_meets_every_particle_once() -> None:
    order = make_order()
    assert order.steps == STEPS
    steps = list(order.batches(0, 2 * STEPS))
    assert [len(batch) for batch in steps] == 2 * [*(STEPS - 1) * [SIZE], COUNT - (STEPS - 1) * SIZE]
    first, second = np.concatenate(steps[:STEPS]), np.concatenate(steps[STEPS:])
    for epoch in (first, second):
        np.testing.assert_array_equal(np.sort(epoch), np.arange(COUNT))
    assert not np.array_equal(first, second)
    other = np.concatenate(list(make_order(seed=2).batches(0, STEPS)))
    assert not np.array_equal(first, other)


def test_any_step_can_be_gone_to_at_once() -> None:
    order = make_order()
    whole = list(order.batches(0, 3 * STEPS))
    for first in (0, 4, STEPS - 1, STEPS, 2 * STEPS + 5):
        for one, other in zip(order.batches(first, 3 * STEPS), whole[first:], strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("processes", [1, 2, 4])
@pytest.mark.parametrize("first", [0, 7])
def test_segments_of_any_number_of_processes_are_the_batches(processes, first) -> None:
    order, last = make_order(), 2 * STEPS + 3
    found = np.full((last, SIZE), -1)
    share = SIZE // processes
    for process in range(processes):
        before = 0
        for segment in order.segments(first, last, slice(process * share, (process + 1) * share)):
            assert segment.first >= before, "in order of first use"
            before = segment.first
            steps = segment.first + np.arange(len(segment.particles))
            assert np.all(found[steps, segment.row] == -1)
            found[steps, segment.row] = segment.particles
    for step, batch in enumerate(order.batches(first, last), first):
        np.testing.assert_array_equal(found[step][found[step] >= 0], batch)


def test_a_batch_mixes_the_set_and_few_chunks_serve_many_batches() -> None:
    count = 8000
    order = ChunkedOrder(np.arange(count), 16, 50, 0)
    batches = np.stack(list(order.batches(0, order.steps)))
    spread = np.ptp(batches, axis=1)
    assert spread.min() > count / 2, "every batch takes particles from all over the set"
    for start in range(0, order.steps - 50, 50):
        touched = np.sort(batches[start : start + 50].ravel())
        pieces = 1 + np.count_nonzero(np.diff(touched) > 50)
        assert pieces <= 2 * 16, "50 batches of 16 touch two chunks a row at most"
    pairs = [{tuple(sorted(b[:2])) for b in order.batches(e * 500, (e + 1) * 500)} for e in (0, 1)]
    assert len(pairs[0] & pairs[1]) < 5, "particles meet others in another epoch"


def test_the_pool_says_how_a_set_is_drawn_from() -> None:
    pool = Pool()
    assert pool.holds(8192, 4 * 512**2) and not pool.holds(8193, 4 * 128**2)
    assert pool.holds(32768, 4 * 64**2) and not pool.holds(32769, 4 * 64**2)
    assert pool.chunk(64, 4 * 128**2) == 128 and pool.chunk(10**6, 4 * 512**2) == 1
    feed = make_feed(60)
    assert feed.chunked_order(np.arange(60), SIZE, 0) is None
    chosen = np.arange(5, 50)
    np.testing.assert_array_equal(small_pool(feed).chunked_order(chosen, 2, 0).stored, chosen)


def test_storage_order_is_by_stack_and_image() -> None:
    feed = small_pool(make_feed(6), chunk=0)
    particles = dataclasses.replace(
        feed.particles,
        files=("b.mrcs", "a.mrcs"),
        file_id=np.array([1, 0, 1, 0, 0, 1]),
        image_index=np.array([2, 9, 0, 3, 5, 1]),
    )
    feed = dataclasses.replace(feed, particles=particles)
    order = feed.chunked_order(np.array([0, 1, 2, 3, 5]), 2, 0)
    np.testing.assert_array_equal(order.stored, [3, 1, 2, 5, 0])


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("share", [slice(0, 8), slice(4, 8), slice(4, 12)])
def test_chunked_batches_hold_what_the_order_says(threads, share) -> None:
    feed = small_pool(make_feed(COUNT))
    order = feed.chunked_order(np.arange(COUNT), SIZE, 1)
    first, last = 9, 2 * STEPS + 1
    batches = ChunkedBatches(feed, order, share, first, last, threads)
    for step, index in enumerate(order.batches(first, last), first):
        batch, own = batches.load(step), index[share]
        assert batch.images.shape == (share.stop - share.start, BOX, BOX)
        assert batch.weight.sum() == len(own)
        if len(own):
            wanted = feed.batch(own, share.stop - share.start)
            jax.tree.map(np.testing.assert_array_equal, batch, wanted)
    batches.close()


def test_no_more_than_a_pool_and_what_is_read_ahead_is_held() -> None:
    feed, held, most = small_pool(make_feed(400)), set(), 0

    class Counting:
        def read(self, index):
            held.update(index.tolist())
            return feed.reader.read(index)

    counted = dataclasses.replace(feed, reader=Counting())
    order = counted.chunked_order(np.arange(400), SIZE, 0)
    batches = ChunkedBatches(counted, order, slice(0, SIZE), 0, order.steps, 1)
    for step in range(order.steps):
        held -= set(batches.load(step).index.tolist())
        most = max(most, len(held))
    batches.close()
    assert not held and most <= 1.5 * SIZE * CHUNK + CHUNK


def test_an_error_in_a_chunk_is_raised_at_the_batch_that_needs_it() -> None:
    feed = small_pool(make_feed(COUNT))
    feed.reader.images[40, 0, 0] = np.nan
    mesh = sharding.data_mesh(jax.devices()[:1])
    config = TrainingConfig(epochs=1, batch_size=SIZE, seed=1)
    batches = placing.training_batches(feed, np.arange(COUNT), config, mesh, 0, STEPS)
    met = 0
    with pytest.raises(DataError, match="image 41"):
        for _ in batches:
            met += 1
    order = feed.chunked_order(np.arange(COUNT), SIZE, 1)
    needed = next(segment.first for segment in order.segments(0, STEPS, slice(0, SIZE)) if 40 in segment.particles)
    assert met <= needed


CONFIG = TrainingConfig(epochs=3, batch_size=SIZE, learning_rate=0.01, seed=3, report_every=1, test_fraction=0.1)


@pytest.mark.parametrize("devices", [1, 4])
def test_a_run_resumed_in_the_middle_of_an_epoch_equals_the_uninterrupted_one(tmp_path, devices) -> None:
    feed = small_pool(make_feed(COUNT))
    model = Toy()
    params = model.init(jax.random.key(0))
    training, _ = split(COUNT, CONFIG)
    assert feed.chunked_order(training, SIZE, 3) is not None
    whole = train(model, params, feed, CONFIG, tmp_path / "whole", devices=jax.devices()[:1])
    cut = tmp_path / "cut"

    def stop(fraction: float) -> None:
        if round(fraction * whole.step) == 17:
            os.kill(os.getpid(), signal.SIGTERM)

    first = train(model, params, feed, CONFIG, cut, devices=jax.devices()[:1], progress=stop)
    assert not first.finished and first.step % 12 != 0
    second = train(model, params, feed, CONFIG, cut, resume=True, devices=jax.devices()[:devices])
    losses = np.concatenate([first.losses, second.losses])
    np.testing.assert_allclose(losses, whole.losses, rtol=0 if devices == 1 else 2e-6)


def test_chunks_begin_elsewhere_in_every_epoch() -> None:
    """Neighbours in the stack are in one chunk in some epochs and apart in others."""
    order = make_order()
    sizes = {int(np.count_nonzero(order.sequence(epoch)[1] == 0)) for epoch in range(30)}
    assert sizes == set(range(1, CHUNK + 1))
