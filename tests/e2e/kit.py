"""What the end-to-end tests share: the real exactod, simulated providers with counters, gateways as child processes.

Nothing here sleeps to wait for an effect: `eventually` looks until it holds, within a deadline. Everything listens on loopback,
and every child ends by its own id. The oracle is what the providers have counted, by the token that a request bears.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("EXACTOD_E2E_CACHE", Path.home() / ".cache/exactod/e2e"))
EXACTOD = Path(os.environ.get("EXACTOD_BIN", ROOT / "target/debug/exactod"))
#: Only a broken program takes so long.
PATIENCE_S = float(os.environ.get("EXACTOD_E2E_PATIENCE", "180"))
LOOK_EVERY_S = 0.05

MODEL, ALIAS, GROUP = "lab/kimi-k2", "kimi-k2", "kimi-k2:exacto"
PROVIDERS = ("prov1", "prov2", "prov3")
#: Broken arguments in an answer with status 200: what no gateway notices by itself.
BAD = [{"defect": "args_truncated_finish_tool_calls", "prevalence": 1.0}]
#: Decides fast, by wide margins: the tests have neither days nor money.
POLICY = """margin = 0.4
admission_margin = 0.3
alpha = 0.2
exclude_after_sweeps = 20
readmit_after_sweeps = 10
suspect_at = 5
burst_at = 3
min_providers = 2
cases = { standard = 8, burst = 8, unknown = 8, cap = 1000 }
"""
SWEEPS_MAX = 60


class Failed(AssertionError):
    """A test has failed."""


def check(holds, what: str) -> None:
    if not holds:
        raise Failed(what)


def equal(is_, due, what: str) -> None:
    check(is_ == due, f"{what}: {is_!r}, due is {due!r}")


def eventually(what: str, ask, patience: float = PATIENCE_S):
    """Asks until the answer is true, and gives it. An exception in `ask` is a no."""
    until, last = time.monotonic() + patience, None
    while True:
        try:
            found = ask()
            last = found
        except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
            found, last = None, error
        if found:
            return found
        if time.monotonic() > until:
            raise Failed(f"waited {patience:.0f} s in vain: {what}; last seen: {last!r}")
        time.sleep(LOOK_EVERY_S)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


class Answer:
    def __init__(self, status: int, headers, body: bytes):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.status} {self.body[:400]!r}>"


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args):
        return None


_OPENER = urllib.request.build_opener(_Stay, urllib.request.ProxyHandler({}))


def ask(method: str, url: str, body=None, headers=None, timeout: float = 60.0) -> Answer:
    """One HTTP request; whatever the status, an answer."""
    data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method, headers=headers or {})
    if isinstance(body, (dict, list)):
        request.add_header("Content-Type", "application/json")
    try:
        with _OPENER.open(request, timeout=timeout) as answer:
            return Answer(answer.status, answer.headers, answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.headers, error.read())


class Child:
    """A child process with its output in a file."""

    def __init__(self, name: str, command: list, folder: Path, env: dict | None = None):
        self.name, self.log = name, folder / f"{name}.log"
        # No secrets, no proxies, nothing of the caller's: what a child needs is said.
        base = {key: os.environ[key] for key in ("PATH", "HOME", "LANG", "TMPDIR") if key in os.environ}
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [str(word) for word in command],
                cwd=folder,
                env={**base, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def alive(self) -> bool:
        return self.process.poll() is None

    def says(self, text: str) -> bool:
        if not self.alive():
            raise Failed(f"{self.name} has ended with {self.process.returncode}:\n{self.tail()}")
        return text in self.log.read_text(errors="replace")

    def tail(self, lines: int = 40) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def end(self, how: int = signal.SIGTERM) -> None:
        if self.alive():
            self.process.send_signal(how)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(20)


# ---------------------------------------------------------------------------------------------------------------------
# The world


def _book(n: int) -> dict:
    call = {"name": "book", "arguments": '{"city": "{{city}}", "nights": {{nights}}}'}
    wrong = {"name": "book", "arguments": '{"city": "{{city}}", "nights": 1}'}

    def message(function):
        calls = [{"id": "call_1", "type": "function", "function": function}]
        return {"role": "assistant", "content": None, "tool_calls": calls, "finish_reason": "tool_calls"}

    return {
        "id": f"book-{n}",
        "category": "simple",
        "params": {"city": {"one_of": CITIES}, "nights": {"int": [2, 99]}},
        "messages": [{"role": "user", "content": prompt(n, "{{city}}", "{{nights}}")}],
        "tools": [BOOK],
        "expected": {"calls": [{"name": "book", "arguments": {"city": "{{city}}", "nights": "{{nights}}"}}]},
        "reference": message(call),
        "counterexample": {"fault": "WrongAnswer", "message": message(wrong)},
    }


def _sum(n: int) -> dict:
    def message(key):
        return {"role": "assistant", "content": "= {{%s}}" % key, "finish_reason": "stop"}

    return {
        "id": f"sum-{n}",
        "category": "arithmetic",
        "params": {"a": {"int": [10, 9999]}, "b": {"int": [10, 9999]}},
        "derive": {"sum": "a + b", "wrong": "a + b + 1"},
        "messages": [{"role": "user", "content": f"Sum {n}: how much is {{{{a}}}} plus {{{{b}}}}? Answer in the form `= number`."}],
        "scorers": [{"type": "equals", "value": "= {{sum}}"}],
        "reference": message("sum"),
        "counterexample": {"fault": "WrongAnswer", "message": message("wrong")},
    }


CITIES = ["Oslo", "Lima", "Busan", "Porto", "Quebec"]
BOOK = {
    "type": "function",
    "function": {
        "name": "book",
        "description": "Books a stay.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "nights": {"type": "integer"}},
            "required": ["city", "nights"],
            "additionalProperties": False,
        },
    },
}


def prompt(n, city, nights) -> str:
    return f"Desk {n}: book {nights} nights in {city}, please."


def _suite(folder: Path, name: str, kind: str, scorers: str, cases: list) -> None:
    folder = folder / name
    folder.mkdir(parents=True)
    header = (
        f'version = 1\nname = "{name}"\nkind = ["{kind}"]\nrevision = "1"\n'
        f"[request]\ntemperature = 0\nmax_tokens = 256\n[fresh]\nfixed_share = 0.2\n{scorers}"
    )
    (folder / "suite.toml").write_text(header)
    (folder / "cases.jsonl").write_text("".join(json.dumps(case) + "\n" for case in cases))


class World:
    """Three providers, exactod in front of them, in a folder of their own."""

    def __init__(self, *, tokens: bool = True, public_read: bool = False, more: str = "", providers=PROVIDERS):
        self.folder = Path(tempfile.mkdtemp(prefix="exactod-e2e-"))
        self.children: list[Child] = []
        self.daemon: Child | None = None
        self.providers = providers
        self.port, self.agent_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.tokens: dict[str, str] = {}
        self.turn = 0
        suites = self.folder / "suites"
        _suite(suites, "tool-use", "tool_use", '[[scorers]]\ntype = "tool-calls"\n', [_book(n) for n in range(1, 9)])
        _suite(suites, "output-quality", "output_quality", "", [_sum(n) for n in range(1, 7)])
        self._start_sim(suites)
        self._configure(tokens, public_read, more)

    # --- what it is made of

    def _start_sim(self, suites: Path) -> None:
        spec = f'model = "{MODEL}"\nseed = 11\n'
        for name in self.providers:
            # Gateways pass requests on for the model by its upstream name.
            spec += f'[[endpoints]]\nname = "{name}"\n'
        (self.folder / "fleet.toml").write_text(spec)
        command = [EXACTOD, "sim", "--json", "--spec", "fleet.toml", "--suites", suites, "--control", "127.0.0.1:0"]
        sim = self.child("sim", command)
        eventually("the simulator is up", lambda: sim.says("interrupt to stop"))
        text = sim.log.read_text()
        told = json.loads(text[text.index("{") : text.rindex("}") + 1])
        self.base = {row["id"]: row["base_url"] for row in told["endpoints"]}
        self.control = told["control"]

    def _configure(self, tokens: bool, public_read: bool, more: str) -> None:
        head = f'[server]\nlisten = "127.0.0.1:{self.port}"\nagent_listen = "127.0.0.1:{self.agent_port}"\n'
        head += f'drain_timeout = "2s"\npublic_read = {str(public_read).lower()}\n'
        (self.folder / "exactod.toml").write_text(head)
        if tokens:
            for role in ("read", "ingest", "admin"):
                made = self.exactod("token", "new", "--role", role, "--json")
                self.tokens[role] = made["token"]
                head += f'[[server.token]]\nname = "{role}"\nrole = "{role}"\nsha256 = "{made["sha256"]}"\n'
        text = head + '[store]\nurl = "sqlite://store.db"\n[suites]\npaths = ["suites"]\n'
        text += f"[policy]\n{POLICY}"
        # Once a year: whatever is measured is asked for by the test.
        text += (
            '[[schedule]]\nname = "yearly"\nmodels = ["*"]\nsuites = ["tool-use", "output-quality"]\n'
            'cron = "0 0 1 1 *"\nspread = "0s"\nonboarding = "off"\n'
        )
        text += f'[[model]]\nid = "{MODEL}"\naliases = ["{ALIAS}"]\n'
        for name in self.providers:
            text += f'[[model.endpoint]]\nprovider = "{name}"\nslugs = {{ litellm = "{name}" }}\n'
        for name in self.providers:
            text += f'[[provider]]\nid = "{name}"\nbase_url = "{self.base[name]}"\napi_key = {{ env = "UPSTREAM_KEY" }}\n'
            text += 'limits = { concurrency = 2 }\nretry = { attempts = 2, over = "20ms" }\n'
        (self.folder / "exactod.toml").write_text(text)
        self.exactod("keys", "new", "--id", "k1", json_=False)
        text += f'[signing]\nkeys = {{ file = "signing-keys.json" }}\n{more}'
        (self.folder / "exactod.toml").write_text(text)

    def edit(self, change) -> None:
        """Changes the config's text."""
        path = self.folder / "exactod.toml"
        path.write_text(change(path.read_text()))

    def child(self, name: str, command: list, env: dict | None = None) -> Child:
        child = Child(name, command, self.folder, env)
        self.children.append(child)
        return child

    def exactod(self, *args: str, json_: bool = True, codes=(0,)):
        """Runs the program to its end; gives the document that it prints."""
        command = [str(EXACTOD), "--config", "exactod.toml", *args]
        env = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "UPSTREAM_KEY": "exactod"}
        ran = subprocess.run(command, cwd=self.folder, env=env, capture_output=True, timeout=PATIENCE_S, check=False)
        check(ran.returncode in codes, f"{args}: {ran.returncode}\n{ran.stderr.decode()[-2000:]}")
        return json.loads(ran.stdout) if json_ else ran.stdout.decode()

    # --- the daemon

    def start_daemon(self) -> None:
        command = [EXACTOD, "--config", "exactod.toml", "serve"]
        self.daemon = self.child("exactod", command, {"UPSTREAM_KEY": "exactod"})
        eventually("exactod is ready", lambda: self._ready())

    def _ready(self) -> bool:
        if not self.daemon.alive():
            raise Failed(f"exactod has ended:\n{self.daemon.tail()}")
        return ask("GET", f"{self.url}/readyz").status == 200

    def kill_daemon(self) -> None:
        """As a crash would."""
        self.daemon.end(signal.SIGKILL)

    def get(self, path: str, role: str = "read") -> Answer:
        headers = {"Authorization": f"Bearer {self.tokens[role]}"} if self.tokens else {}
        return ask("GET", self.url + path, headers=headers)

    def allowlist(self) -> dict:
        answer = self.get(f"/v1/models/{MODEL}/allowlist")
        return answer.json() if answer.status == 200 else {"providers": [], "version": 0, "mode": None}

    def listed(self) -> set[str]:
        return {entry["id"] for entry in self.allowlist()["providers"]}

    # --- evaluation

    def sweep_until(self, what: str, holds) -> None:
        """Sweeps, one after the other, until it holds."""
        for _ in range(SWEEPS_MAX):
            if holds():
                return
            self.exactod("sweep", "--until-decided", "--json", codes=(0, 1))
        raise Failed(f"{what}: not after {SWEEPS_MAX} sweeps; {self.exactod('decisions', '--json')['items'][:5]}")

    def admit_all(self) -> None:
        """Starts the daemon, and sweeps until everybody is admitted."""
        self.start_daemon()
        everybody = set(self.providers)

        def admitted():
            tiers = {entry["id"]: entry["tier"] for entry in self.allowlist()["providers"]}
            return set(tiers) == everybody and set(tiers.values()) == {"admitted"}

        self.sweep_until("everybody is admitted", admitted)
        # The daemon follows the store: it serves what the sweeps have published.
        eventually("the daemon serves the list", admitted)

    def exclude(self, name: str) -> None:
        """Breaks a provider; evaluation alone excludes it. No traffic but exactod's own."""
        self.break_(name)
        self.sweep_until(f"{name} is excluded", lambda: self.listed() == set(self.providers) - {name})

    def readmit(self, name: str) -> None:
        self.heal(name)
        self.sweep_until(f"{name} is listed again", lambda: name in self.listed())

    def break_(self, name: str, how=BAD) -> None:
        equal(ask("POST", f"{self.control}/injections/{name}", how).status, 200, f"{name} is broken")

    def heal(self, name: str) -> None:
        self.break_(name, [])

    # --- what the providers have counted

    def reset(self) -> None:
        equal(ask("POST", f"{self.control}/reset", b"").status, 200, "the counters are reset")

    def counts(self) -> dict[str, int]:
        """Requests by provider, exactod's own left out."""
        found = ask("GET", f"{self.control}/counts").json()
        return {name: sum(n for key, n in row["by_key"].items() if key != "exactod") for name, row in found.items()}

    def own_counts(self) -> dict[str, int]:
        found = ask("GET", f"{self.control}/counts").json()
        return {name: row["by_key"].get("exactod", 0) for name, row in found.items()}

    # --- traffic

    def body(self, model: str, stream: bool = False) -> dict:
        """A request that is another one each time, and whose right answer is a call."""
        self.turn += 1
        text = prompt(1 + self.turn % 8, CITIES[self.turn % 5], 2 + self.turn % 98)
        body = {"model": model, "messages": [{"role": "user", "content": text}], "tools": [BOOK], "max_tokens": 256}
        return {**body, "stream": True} if stream else body

    def drive(self, n: int, one) -> list[Answer]:
        """Sends n requests by `one`; every answer must be 200."""
        answers = []
        for _ in range(n):
            answer = one()
            check(answer.status == 200, f"an answer is not 200: {answer}")
            answers.append(answer)
        return answers

    def end(self, failed: bool) -> None:
        for child in reversed(self.children):
            child.end()
        if failed:
            for child in {child.name: child for child in self.children}.values():
                print(f"--- end of {child.log}\n{child.tail()}", flush=True)
            print(f"--- kept: {self.folder}", flush=True)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def world(**kwargs):
    """A world that ends with the test; what it left stays when the test failed."""
    made = World(**kwargs)
    try:
        yield made
    except BaseException:
        made.end(failed=True)
        raise
    made.end(failed=False)


# ---------------------------------------------------------------------------------------------------------------------
# Between a gateway and exactod


class Between:
    """A door in front of exactod: passes on, keeps what is posted, or says something else."""

    def __init__(self, target: str):
        from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

        self.target, self.posted, self.instead = target, [], {}
        self.lock = threading.Lock()
        between = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def do_GET(self):
                self.answer("GET", None)

            def do_POST(self):
                self.answer("POST", self.rfile.read(int(self.headers.get("Content-Length", 0))))

            def answer(self, method, body):
                path = self.path.split("?")[0]
                if method == "POST":
                    with between.lock:
                        between.posted.append((path, dict(self.headers), body))
                said = between.instead.get(path)
                if said is None:
                    skip = ("host", "content-length", "connection", "accept-encoding")
                    headers = {k: v for k, v in self.headers.items() if k.lower() not in skip}
                    try:
                        found = ask(method, between.target + self.path, body, headers, timeout=400)
                    except OSError:
                        # As if nobody were there.
                        self.close_connection = True
                        return
                    said = (found.status, dict(found.headers), found.body)
                status, headers, content = said
                self.send_response(status)
                for name, value in headers.items():
                    if name.lower() not in ("content-length", "connection", "transfer-encoding", "date"):
                        self.send_header(name, value)
                if status != 304:
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if status != 304:
                    self.wfile.write(content)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, path: str) -> list:
        with self.lock:
            return [(headers, body) for at, headers, body in self.posted if at == path]

    def end(self) -> None:
        self.server.shutdown()
        self.server.server_close()
