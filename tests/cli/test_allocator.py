"""Freed memory is kept for the next step, unless the user has decided otherwise."""

import os
import platform
import subprocess
import sys

import pytest

from libhetero.cli.allocator import allocator_variables, keep_freed_memory

GLIBC = platform.system() == "Linux" and platform.libc_ver()[0] == "glibc"
FAULTS = """
import resource, sys
import numpy as np
from libhetero.cli.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory({})
def work():
    np.ones(100 * 2**20, np.uint8)
work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.parametrize("name", ["GLIBC_TUNABLES", "LD_PRELOAD", "MALLOC_ARENA_MAX", "MALLOC_TRIM_THRESHOLD_"])
def test_the_users_own_choice_stands(name: str) -> None:
    assert not keep_freed_memory({name: "1"})
    assert allocator_variables({name: "1"}) == {}


@pytest.mark.skipif(not GLIBC, reason="another allocator")
def test_a_large_block_is_mapped_once() -> None:
    def faults(mode: str, **variables: str) -> int:
        command, environment = [sys.executable, "-c", FAULTS, mode], os.environ | variables
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        return int(done.stdout)

    plain = faults("plain")
    assert faults("keep") < 0.1 * plain
    assert faults("plain", **allocator_variables({})) < 0.1 * plain, "as processes inherit it"
