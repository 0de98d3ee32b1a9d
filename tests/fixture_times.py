"""How long each fixture took that tests share, in the report of a session: benchmarks/slow_tests.py reads it.

A report (`--junitxml`) charges a fixture of a module to the first test that needs it. Two properties of each test tell
what it truly took: `made` has a fixture and its seconds for each that was made for it, `needs` the names of all that it
uses, whoever they were made for. conftest.py adds this where a report is asked for.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

MADE: list[str] = []  # since the last test ended


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef) -> Iterator[Any]:
    """Note what a fixture took that is made for more than one test; those that it needs were made before."""
    begun = time.perf_counter()
    try:
        return (yield)
    finally:
        if fixturedef.scope != "function":
            MADE.append(f"{fixturedef.argname} {time.perf_counter() - begun:.3f}")


@pytest.fixture(autouse=True)
def told(request: pytest.FixtureRequest) -> Iterator[None]:
    """Write down what the test needs once it is over, for it may ask for a fixture while it runs."""
    yield
    request.node.user_properties.append(("needs", " ".join(request.fixturenames)))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[Any]:
    """Write down which fixtures were made for the test."""
    try:
        return (yield)
    finally:
        item.user_properties.extend(("made", words) for words in MADE)
        MADE.clear()
