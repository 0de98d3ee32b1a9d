"""The scaling benchmark at a size of milliseconds, and its reading of compiled programs."""

import json

import jax
import jax.numpy as jnp
import pytest

from libhetero.training import sharding

REDUCED = "  %r = (f32[4]{0}, f32[4,8]{1,0}, f32[]) all-reduce(%a, %b, %c), channel_id=1, replica_groups={}"
STARTED = "  %s = (bf16[16]{0}, bf16[64]{0}) all-gather-start(%a), channel_id=2, dimensions={0}"
HALF = "  ROOT %t = f32[2,3]{1,0} reduce-scatter(%a), channel_id=3, dimensions={0}"
OTHERS = "  %g = f32[4]{0} get-tuple-element(%r), index=0\n  %d = bf16[64]{0} all-gather-done(%s)"


def test_sizes_are_read_from_the_text(load) -> None:
    module = load("collectives")
    found = module.collectives("\n".join([REDUCED, STARTED, HALF, OTHERS]))
    assert [(one.kind, one.size, one.overlapped) for one in found] == [
        ("all-reduce", 4 * (4 + 32 + 1), False),
        ("all-gather", 128, True),
        ("reduce-scatter", 24, False),
    ]
    with pytest.raises(ValueError, match="q7"):
        module.shape_bytes("q7", "3")


def test_a_real_program_sums_its_gradient(load) -> None:
    def step(state, batch):
        value, gradient = jax.value_and_grad(lambda s: jnp.mean((batch @ s) ** 2))(state)
        return state - gradient, {"loss": value}

    mesh = sharding.data_mesh()
    compiled = sharding.compile_step(step, mesh).lower(jnp.ones((8, 4)), jnp.ones((16, 8))).compile()
    found = load("collectives").collectives(compiled.as_text())
    assert {one.kind for one in found} == {"all-reduce"}
    assert sum(one.size for one in found) == 4 * (8 * 4 + 1)


def test_what_a_loop_sends_counts_as_often_as_it_runs(load) -> None:
    def step(state, batch):
        def layer(hidden, weights):
            return jnp.tanh(hidden @ weights), None

        value, gradient = jax.value_and_grad(lambda s: jnp.mean(jax.lax.scan(layer, batch, s)[0] ** 2))(state)
        return state - gradient, {"loss": value}

    mesh = sharding.data_mesh()
    compiled = sharding.compile_step(step, mesh).lower(jnp.ones((5, 8, 8)), jnp.ones((16, 8))).compile()
    found = load("collectives").collectives(compiled.as_text())
    assert sum(one.times * one.size for one in found) == 4 * (5 * 8 * 8 + 1)


def test_quick(load, tmp_path, capsys) -> None:
    assert load("scaling").main(["--quick", "--json", str(tmp_path / "scaling.json")]) == 0
    found = json.loads((tmp_path / "scaling.json").read_text())
    for of_it in found["families"].values():
        (row,) = of_it["rows"]
        assert row["devices"] == 2 and of_it["overhead"]["ratio"] > 0
        assert row["bytes"] >= 4 * of_it["parameters"] and row["share"] > 0
        assert set(row["collectives"]) == {"all-reduce"}
    assert set(found["families"]) == {"hype", "gmm"} and "all-reduce" in capsys.readouterr().out
