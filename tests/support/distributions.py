"""Throw-away distributions, installed by pip into a folder of their own that a test puts on PYTHONPATH."""

import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path


def write_wheel(folder: Path, distribution: str, module_source: str, *, version: str = "1.0") -> Path:
    """A wheel with one module, which is its own plugin; building one by hand needs no build backend and no network."""
    module = distribution.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    files: Mapping[str, str] = {
        f"{module}.py": module_source,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[ferbench]\n{distribution.removeprefix('ferbench-')} = {module}\n",
    }
    path = folder / f"{module}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
        wheel.writestr(f"{info}/RECORD", "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"]))
    return path


def pip_install(target: Path, *projects: Path) -> None:
    """Install wheels or project folders into `target`, without their requirements and without an index."""
    offline = ["--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", *offline, "--target", str(target), *map(str, projects)],
        check=True,
        stdin=subprocess.DEVNULL,
    )
