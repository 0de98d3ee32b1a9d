"""The scatter itself: what is drawn, how it is moved, and that it comes back when the graphics card has lost it."""

from __future__ import annotations

import numpy as np
import pytest

from tests.making.browsing import Visit, until

SCATTER = "libhetero.latent.scatter"
DRAWN = f"{SCATTER}.points.frame === undefined"


def view(visit: Visit) -> np.ndarray:
    """Return left, right, bottom and top of what is shown, in the columns' units."""
    return np.array(visit.page.evaluate(f"{SCATTER}.view()"))


def test_the_wheel_zooms_about_the_pointer_and_dragging_moves(visit: Visit) -> None:
    page = visit.page
    box = page.locator("canvas.points").bounding_box()
    at = [round(box["x"] + 0.3 * box["width"]), round(box["y"] + 0.25 * box["height"])]  # where a mouse can be
    left, top = at[0] - box["x"], at[1] - box["y"]
    under = f"{SCATTER}.toData({left}, {top})"
    before, place = view(visit), page.evaluate(under)
    page.mouse.move(*at)
    page.mouse.wheel(0, -400)
    until(page, f"{SCATTER}.eye.scale > 1.5 * {SCATTER}.homed")
    near = view(visit)
    assert page.evaluate(under) == pytest.approx(place, abs=1e-6 * np.ptp(before))
    assert np.diff(near[:2]) / np.diff(before[:2]) == pytest.approx(np.exp(-0.6))
    until(page, "location.hash.includes('cam=')")
    visit.drag("canvas.points", [(0.5, 0.5), (0.6, 0.4)])
    moved = view(visit)
    np.testing.assert_allclose(moved[:2] - near[:2], np.full(2, -0.1 * np.ptp(near[:2])), rtol=0.02)
    np.testing.assert_allclose(moved[2:] - near[2:], np.full(2, -0.1 * np.ptp(near[2:])), rtol=0.02)
    assert page.evaluate("libhetero.selection.count") == 0, "what was dragged is no click"
    page.keyboard.press("f")
    np.testing.assert_allclose(view(visit), before)


def test_the_keyboard_zooms_about_the_centre_and_moves(visit: Visit) -> None:
    before = view(visit)
    visit.page.locator("canvas.points").focus()
    visit.page.keyboard.press("+")
    near = view(visit)
    np.testing.assert_allclose(
        near - before.reshape(2, 2).mean(1).repeat(2), np.diff(before)[[0, 0, 2, 2]] / 2.5 * [-1, 1, -1, 1]
    )
    visit.page.keyboard.press("ArrowUp")
    np.testing.assert_allclose(
        view(visit) - near, np.array([0, 0, 0.1, 0.1]) * np.ptp(near[2:]), atol=1e-6 * np.ptp(near)
    )
    visit.page.keyboard.press("ArrowDown")
    visit.page.keyboard.press("ArrowRight")
    moved = view(visit) - near
    np.testing.assert_allclose(moved[2:], 0, atol=1e-6 * np.ptp(near))
    assert moved[0] == pytest.approx(moved[1]) and 0.02 * np.ptp(near[:2]) < moved[0] < 0.2 * np.ptp(near[:2])
    assert visit.page.evaluate("libhetero.state.get('tab')") != "volumes", "the keys are the scatter's alone"


def test_those_not_chosen_fade_and_all_come_back(visit: Visit) -> None:
    whole = visit.ink("canvas.points", darker=200)
    visit.page.locator(".legend .classes button").first.click()
    until(visit.page, f"libhetero.selection.count > 0 && {DRAWN}")
    assert 0 < visit.page.evaluate(f"{SCATTER}.points.faded") < 40
    some = visit.ink("canvas.points", darker=200)
    assert 0.2 * whole < some < 0.8 * whole
    visit.page.keyboard.press("Escape")
    until(visit.page, f"libhetero.selection.count === 0 && {DRAWN}")
    assert visit.ink("canvas.points", darker=200) == pytest.approx(whole, rel=0.02)


def test_particles_without_a_place_are_counted_and_not_drawn(visit: Visit) -> None:
    page = visit.page
    whole = visit.ink("canvas.points")
    page.evaluate(
        f"""() => {{
          const s = {SCATTER};
          const x = s.x.map((value, row) => (row % 2 ? (row % 4 === 1 ? NaN : Infinity) : value));
          s.draw({{ x, y: s.y, names: s.names, equal: s.equal, colours: s.colours }});
        }}"""
    )
    until(page, DRAWN)
    assert page.evaluate(f"{SCATTER}.missing") == 20
    assert 0.3 * whole < visit.ink("canvas.points") < 0.75 * whole
    assert page.evaluate(f"{SCATTER}.nearest(...{SCATTER}.toPixels({SCATTER}.x[2], {SCATTER}.y[2]))") % 2 == 0


def test_a_picture_that_the_graphics_card_lost_is_drawn_again(visit: Visit) -> None:
    page = visit.page
    whole = visit.ink("canvas.points")
    page.evaluate(f"() => {{ globalThis.lost = {SCATTER}.points.gl.getExtension('WEBGL_lose_context'); }}")
    page.evaluate("lost.loseContext()")
    until(page, f"{SCATTER}.points.gl.isContextLost()")
    page.evaluate("lost.restoreContext()")
    until(page, f"!{SCATTER}.points.gl.isContextLost() && {DRAWN}")
    assert visit.ink("canvas.points") == pytest.approx(whole, rel=0.02)
