"""Install libhetero and its programs.

The metadata is in pyproject.toml; only the list of programs needs Python: each
`programs/e2hype_*.py` is installed on the path under exactly that name.
"""

from pathlib import Path

from setuptools import setup

setup(scripts=sorted(str(path) for path in Path("programs").glob("e2hype_*.py")))
