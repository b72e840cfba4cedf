"""LiteLLM 1.106.2 with the plugin as it is shipped (docs/gateways.md). Slow: it takes half a minute to start."""

import gzip
import json
import secrets
import shutil
import subprocess

import install
from kit import (
    GROUP,
    MODEL,
    PATIENCE_S,
    ROOT,
    Between,
    ask,
    check,
    equal,
    eventually,
    free_port,
    world,
)

PLUGIN = ROOT / "integrations/litellm/exactod_litellm.py"
#: It takes half a minute to start alone on a machine.
START_S = max(PATIENCE_S, 300)

SDK = """
import json, sys
from openai import OpenAI

client = OpenAI(base_url=sys.argv[1], api_key=sys.argv[2], max_retries=0)
body = json.loads(sys.argv[3])
for stream in (False, True):
    if stream:
        text = ""
        for chunk in client.chat.completions.create(**body, stream=True):
            for call in (chunk.choices[0].delta.tool_calls or []) if chunk.choices else []:
                text += call.function.arguments or ""
    else:
        answer = client.chat.completions.create(**body)
        text = answer.choices[0].message.tool_calls[0].function.arguments
    print(json.dumps(json.loads(text)))
"""


class Litellm:
    def __init__(self, made, url: str, *, settings: str = "", env: dict | None = None):
        self.made, self.port, self.key = made, free_port(), "sk-" + secrets.token_hex(16)
        shutil.copy(PLUGIN, made.folder)
        text = "model_list:\n"
        for name in made.providers:
            text += (
                f'  - model_name: "{GROUP}"\n'
                f'    litellm_params: {{model: "openai/{MODEL}", api_base: "{made.base[name]}", api_key: client}}\n'
                f"    model_info: {{id: {name}}}\n"
            )
        text += f'litellm_settings:\n  callbacks: ["exactod_litellm.handler"]\n{settings}'
        text += "router_settings: {num_retries: 0}\ngeneral_settings: {master_key: os.environ/LITELLM_MASTER_KEY}\n"
        (made.folder / "litellm.yaml").write_text(text)
        self.env = {
            "LITELLM_MASTER_KEY": self.key,
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "EXACTOD_URL": url,
            "EXACTOD_TOKEN": made.tokens["read"],
            "EXACTOD_INGEST_TOKEN": made.tokens["ingest"],
            "EXACTOD_STATE": str(made.folder / "plugin"),
            "EXACTOD_CLIENT": "litellm-e2e",
            "NO_PROXY": "127.0.0.1",
            **(env or {}),
        }
        self.start()

    def start(self) -> None:
        program = install.litellm() / "bin/litellm"
        command = [program, "--config", "litellm.yaml", "--host", "127.0.0.1", "--port", self.port, "--telemetry", "False"]
        self.child = self.made.child("litellm", command, self.env)

        def up():
            check(self.child.alive(), f"LiteLLM has ended:\n{self.child.tail()}")
            return ask("GET", f"{self.url}/health/readiness").status == 200

        eventually("LiteLLM is up", up, START_S)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def call(self, stream: bool = False):
        headers = {"Authorization": f"Bearer {self.key}"}
        return ask("POST", f"{self.url}/v1/chat/completions", self.made.body(GROUP, stream), headers)


def adopted(made):
    """The version that the plugin says it runs."""
    found = [ack for ack in made.get("/v1/acks").json()["items"] if ack["client"] == "litellm-e2e"]
    return found[0]["adopted"] if found else None


def converged(made) -> None:
    index = made.get("/v1/export/litellm").json()["version"]
    eventually("the plugin runs the current list", lambda: adopted(made) == index)


def records(between) -> list[dict]:
    """The verdicts that have arrived, each once."""
    found = {}
    for headers, body in between.take("/v1/observations"):
        headers = {name.lower(): value for name, value in headers.items()}
        check(headers.get("content-encoding") == "gzip", f"headers of observations: {headers}")
        for line in gzip.decompress(body).splitlines():
            record = json.loads(line)
            found[record["id"]] = record
    return list(found.values())


def evaluation_takes_traffic_away_and_brings_it_back():
    """The plugin as it is shipped, an unmodified OpenAI SDK, the daemon dead in the middle, verdicts and no prompts."""
    with world() as made:
        made.admit_all()
        between = Between(made.url)
        proxy = Litellm(made, between.url)
        converged(made)
        made.reset()
        made.drive(30, proxy.call)
        check(all(n > 0 for n in made.counts().values()), f"all are asked: {made.counts()}")
        body = json.dumps(made.body(GROUP))
        command = [install.litellm() / "bin/python", "-c", SDK, f"{proxy.url}/v1", proxy.key, body]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        equal(ran.returncode, 0, f"the OpenAI SDK: {ran.stderr[-2000:]}")
        calls = [json.loads(line) for line in ran.stdout.splitlines()]
        check(len(calls) == 2 and all(set(call) == {"city", "nights"} for call in calls), f"calls by the SDK: {calls}")

        good = eventually("all verdicts have arrived", lambda: [r for r in [records(between)] if len(r) >= 32])[0]
        check(all(r["tool_call_valid"] is True and r["tool_calls"] == 1 and r["ok"] for r in good), f"verdicts: {good[0]}")
        equal({r["provider"] for r in good}, {"prov1", "prov2", "prov3"}, "whom the verdicts are about")
        equal({r["model"] for r in good}, {"kimi-k2"}, "the model of the verdicts")
        check(any(r["stream"] for r in good), "the SDK's stream was judged as well")
        text = json.dumps(good)
        check("Desk" not in text and "nights" not in text, "no prompt and no answer is sent")

        made.break_("prov2")
        made.drive(30, proxy.call)

        def broken():
            bad = [r for r in records(between) if r["tool_call_valid"] is False]
            return bad if len(bad) >= 5 else None

        bad = eventually("verdicts about broken calls", broken)
        equal({(r["provider"], r["invalid_reason"]) for r in bad}, {("prov2", "json")}, "who is blamed, and why")

        made.sweep_until("prov2 is excluded", lambda: "prov2" not in made.listed())
        converged(made)
        made.reset()
        answers = made.drive(40, proxy.call) + made.drive(10, lambda: proxy.call(stream=True))
        equal(made.counts()["prov2"], 0, "requests to the excluded one")
        equal(sum(made.counts().values()), 50, "requests to the others")
        named = {answer.headers["x-litellm-model-id"] for answer in answers}
        equal(named, {"prov1", "prov3"}, "who has answered")

        made.kill_daemon()
        made.reset()
        made.drive(30, proxy.call)
        equal(made.counts()["prov2"], 0, "requests to the excluded one without the daemon")

        # Started while the daemon is away, it has the last good list.
        proxy.child.end()
        proxy.start()
        made.reset()
        made.drive(30, proxy.call)
        equal(made.counts()["prov2"], 0, "requests to the excluded one after a start without the daemon")

        made.start_daemon()
        made.readmit("prov2")
        converged(made)
        made.reset()
        made.drive(40, proxy.call)
        check(made.counts()["prov2"] > 0, f"the healed one is asked again: {made.counts()}")
        between.end()


def nothing_bad_is_adopted_and_failures_are_told():
    """Tampered, rolled back, stale, empty and unsigned lists; then failures of a provider, and redacted answers."""
    with world() as made:
        made.admit_all()
        path = "/v1/export/litellm"
        older = made.get(path)
        made.exclude("prov2")
        eventually("the daemon serves the list", lambda: "prov2" not in made.listed())
        between = Between(made.url)
        settings = "  turn_off_message_logging: true\n"
        keys = made.folder / "believed.json"
        keys.write_bytes(made.get("/.well-known/exacto-keys.json").body)
        proxy = Litellm(made, between.url, settings=settings, env={"EXACTOD_KEYS": str(keys), "EXACTOD_POLL": "1"})
        converged(made)
        version = adopted(made)

        good = made.get(path)
        headers = {"Content-Type": "application/json", "Exacto-Signature": good.headers["Exacto-Signature"]}
        named = good.body.replace(b'"prov3"', b'"prov2"')
        check(named != good.body, "the index names prov3")
        cases = [
            ("bad_signature", headers, named),
            ("bad_signature", headers, good.body[:-2]),
            ("bad_signature", headers, b'{"groups":{}}'),
            ("unsigned", {"Content-Type": "application/json"}, named),
            ("signature_form", {**headers, "Exacto-Signature": "k1"}, named),
            ("rolled_back", {**headers, "Exacto-Signature": older.headers["Exacto-Signature"]}, older.body),
        ]

        def told(code):
            acks = made.get("/v1/acks").json()["items"]
            return [a for a in acks if a["client"] == "litellm-e2e" and a["detail"].startswith(code)]

        for number, (code, sent, content) in enumerate(cases):
            etag = {"ETag": f'"case-{number}"'}
            between.instead[path] = (200, {**sent, **etag}, content)
            line = f"a list is refused, going on with what is known: {code}"
            seen = proxy.child.log.read_text(errors="replace").count(line)
            eventually(f"{code} is refused", lambda: proxy.child.log.read_text(errors="replace").count(line) > seen)
            if b'"version"' in content and code == "rolled_back":
                eventually("and told", lambda: told(code))
        made.reset()
        made.drive(30, proxy.call)
        equal(made.counts()["prov2"], 0, "requests to the excluded one")
        equal(adopted(made), version, "the version in use")
        del between.instead[path]

        # What LiteLLM has redacted is not judged.
        taken = eventually("verdicts have arrived", lambda: [r for r in [records(between)] if len(r) >= 30])[0]
        equal({r["tool_call_valid"] for r in taken}, {None}, "verdicts about redacted answers")
        check(all(r["ok"] for r in taken), "and all of them were delivered")

        # A provider that refuses: one failure is told for each request that it has received.
        made.break_("prov3", [{"defect": "rate_limit_bursts", "prevalence": 1.0}])
        made.reset()
        for _ in range(20):
            proxy.call()

        def failures():
            return [r for r in records(between) if not r["ok"] and r["provider"] == "prov3"]

        check(made.counts()["prov3"] > 0, f"it is asked: {made.counts()}")
        eventually("every failure is told", lambda: len(failures()) >= made.counts()["prov3"])
        failed = failures()
        equal(len(failed), made.counts()["prov3"], "failures told")
        equal({r["http_status"] for r in failed}, {429}, "the status of the failures")
        check(all(r["tool_call_valid"] is None for r in failed), "a failure is no verdict about tool calls")
        between.end()


SCENARIOS = [evaluation_takes_traffic_away_and_brings_it_back, nothing_bad_is_adopted_and_failures_are_told]
