"""What the compiled step of each model sends between devices."""

import re

import jax
import pytest

from libhetero.training import sharding
from libhetero.training.optimiser import TrainingConfig, build_optimiser, start_state, training_step
from tests.making.images import particles
from tests.making.models import CONFIGS, make_model

SENT = re.compile(r" (all-gather|all-to-all|collective-permute|reduce-scatter|all-reduce)(?:-start)?\(")


@pytest.mark.parametrize("name", CONFIGS)
def test_devices_share_a_batch_and_send_each_other_sums_alone(name):
    """Nothing of a batch is gathered: neither images nor what a network makes of them."""
    model, config, mesh = make_model(name), TrainingConfig(), sharding.data_mesh()
    assert mesh.size == 4
    optimiser = build_optimiser(config, 10)
    state = jax.eval_shape(lambda key: start_state(model.init(key), optimiser, config), jax.random.key(0))
    step = sharding.compile_step(training_step(model.loss, optimiser, config), mesh)
    compiled = step.lower(state, particles(8)).compile()
    sent = SENT.findall(compiled.as_text())
    assert sent and set(sent) == {"all-reduce"}, sent
