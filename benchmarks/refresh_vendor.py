"""Fetch the dashboard's JavaScript from npm into the package: versions, licences and hashes in `vendor.json`.

    python benchmarks/refresh_vendor.py            fetch what PACKAGES names, rewrite the folder
    python benchmarks/refresh_vendor.py --check    only compare the folder with its vendor.json

Users run none of this: what it writes is part of the package, and the page asks no other machine for anything. It
needs `npm` on the path, whose client checks what it fetches against the registry's own hashes. Browsers read the files
without a build step. The licence of each package, and of those that its file holds within it, lies beside it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

VENDOR = Path(__file__).resolve().parent.parent / "libhetero" / "dashboard" / "static" / "vendor"
TABLE = "vendor.json"


@dataclass(frozen=True)
class Package:
    """One package of npm.

    Parameters
    ----------
    name, version : of npm.
    files : path in the package to the name in the vendor folder.
    replace : text to the text in its place, in every file; each must occur.
    bundled : packages that its file holds, name@version, whose licences are kept too.
    why : what the page does with it.
    """

    name: str
    version: str
    files: dict[str, str]
    why: str
    replace: dict[str, str] = field(default_factory=dict)
    bundled: tuple[str, ...] = ()


PACKAGES = (
    Package(
        "ngl",
        "2.5.0",
        {"dist/ngl.js": "ngl.js"},
        "isosurfaces and Gaussians in three dimensions",
        {"//# sourceMappingURL=ngl.js.map": ""},
        bundled=("three@^0.158.0", "chroma-js@^1.3.7", "signals@^1.0.0", "sprintf-js@^1.1.2", "molstar@^4.1.0"),
    ),
    Package(
        "uplot", "1.6.32", {"dist/uPlot.esm.js": "uplot.js", "dist/uPlot.min.css": "uplot.css"}, "curves of training"
    ),
)


def main(argv: list[str] | None = None) -> int:
    """Refresh or check the folder, and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only compare the folder with its vendor.json")
    if parser.parse_args(argv).check:
        wrong = faults(VENDOR)
        print("\n".join(wrong) or f"{VENDOR}: every file is as {TABLE} says")
        return 1 if wrong else 0
    VENDOR.mkdir(parents=True, exist_ok=True)
    entries = [_fetched(package) for package in PACKAGES]
    (VENDOR / TABLE).write_text(json.dumps({"packages": entries}, indent=1) + "\n", encoding="utf-8")
    total = sum(one["bytes"] for entry in entries for one in entry["files"])
    print(f"{VENDOR}: {len(entries)} packages, {total / 1e6:.2f} MB")
    return 0


def faults(vendor: Path) -> list[str]:
    """Return one line for every file of the folder that is not what its table says."""
    table = json.loads((vendor / TABLE).read_text(encoding="utf-8"))
    stated = {one["path"]: one["sha256"] for entry in table["packages"] for one in entry["files"]}
    there = {path.name for path in vendor.iterdir()} - {TABLE}
    wrong = [f"{name}: is not in {TABLE}" for name in sorted(there - stated.keys())]
    wrong += [f"{name}: is missing" for name in sorted(stated.keys() - there)]
    both = sorted(there & stated.keys())
    return wrong + [f"{name}: differs from {TABLE}" for name in both if _sha256(vendor / name) != stated[name]]


@contextmanager
def _unpacked(specification: str) -> Iterator[Path]:
    """Fetch a package, name@version, and give the folder of what is in it."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["npm", "pack", "--silent", "--pack-destination", folder, specification]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"npm pack {specification} failed: {done.stderr.strip()}")
        with tarfile.open(next(Path(folder).glob("*.tgz"))) as archive:
            archive.extractall(folder, filter="data")
        yield next(path for path in Path(folder).iterdir() if path.is_dir())


def _fetched(package: Package) -> dict:
    """Fetch one package, write its files and licences, and return its entry of the table."""
    with _unpacked(f"{package.name}@{package.version}") as root:
        declared = _declared(root)
        names = [_written(package, root / source, name) for source, name in package.files.items()]
        licences = [_licence(root)]
    within = []
    for specification in package.bundled:
        with _unpacked(specification) as root:
            inner = _declared(root)
            within.append({"name": inner["name"], "version": inner["version"], "licence": inner.get("license", "MIT")})
            licences.append(f"{inner['name']} {inner['version']}, within {package.name}:\n\n{_licence(root)}")
    path = VENDOR / f"{package.name}.LICENSE"
    path.write_text(f"\n{'-' * 80}\n\n".join(licences), encoding="utf-8")
    names.append(path)
    files = [{"path": path.name, "sha256": _sha256(path), "bytes": path.stat().st_size} for path in names]
    return {
        "name": package.name,
        "version": package.version,
        "licence": declared["license"],
        "why": package.why,
        "changed": _changes(package),
        "within": within,
        "files": files,
    }


def _declared(root: Path) -> dict:
    return json.loads((root / "package.json").read_text(encoding="utf-8"))


def _written(package: Package, source: Path, name: str) -> Path:
    text = source.read_text(encoding="utf-8")
    if name.endswith(".js"):
        for old, new in package.replace.items():
            if old not in text:
                sys.exit(f"{package.name}@{package.version}: {source.name} has no {old!r} to rewrite")
            text = text.replace(old, new)
    path = VENDOR / name
    path.write_text(text, encoding="utf-8")
    return path


def _licence(root: Path) -> str:
    """Return the licence's text; where a package has no file of it, what it declares."""
    found = [path for path in sorted(root.iterdir()) if path.name.lower().startswith(("license", "licence"))]
    if found:
        return found[0].read_text(encoding="utf-8")
    declared = _declared(root)
    return f"{declared.get('license', 'MIT')}; {declared.get('author', '')}; {declared.get('homepage', '')}\n"


def _changes(package: Package) -> str:
    changes = [f"{old!r} became {new!r}" for old, new in package.replace.items()]
    return "; ".join(changes) or "nothing"


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
