"""Envoy 1.40 asks exactod for its routes by REST (docs/gateways.md)."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import install
from kit import GROUP, MODEL, ask, check, equal, eventually, free_port, world

STAT = "http.ingress.rds.exacto"


def _cluster(name: str, port: int, more: str = "") -> str:
    return (
        f"  - {{name: {name}, type: STATIC, connect_timeout: 2s, load_assignment: {{cluster_name: {name}, endpoints: "
        f"[{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}}}}}]}}]}}{more}}}\n"
    )


class Envoy:
    def __init__(self, made, *, token: str = ""):
        self.made, self.port, self.admin = made, free_port(), free_port()
        send = ""
        if token:
            # Envoy sends no token by itself: a filter of the cluster does.
            send = (
                ", typed_extension_protocol_options: {envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {"
                '"@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, '
                "explicit_http_config: {http_protocol_options: {}}, http_filters: ["
                '{name: envoy.filters.http.header_mutation, typed_config: {"@type": '
                "type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation, mutations: "
                "{request_mutations: [{append: {header: {key: authorization, value: \"Bearer " + token + "\"}}}]}}}, "
                '{name: envoy.filters.http.upstream_codec, typed_config: {"@type": '
                "type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec}}]}}"
            )
        clusters = "".join(_cluster(name, int(made.base[name].split(":")[2].split("/")[0])) for name in made.providers)
        text = (
            "node: {id: exacto-e2e, cluster: e2e}\n"
            f"admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {self.admin}}}}}}}\n"
            "static_resources:\n  clusters:\n"
            f"{clusters}{_cluster('exactod', made.port, send)}"
            "  listeners:\n  - name: l\n"
            f"    address: {{socket_address: {{address: 127.0.0.1, port_value: {self.port}}}}}\n"
            "    filter_chains:\n    - filters:\n      - name: envoy.filters.network.http_connection_manager\n"
            "        typed_config:\n"
            '          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager\n'
            "          stat_prefix: ingress\n"
            "          http_filters: [{name: envoy.filters.http.router, typed_config: "
            '{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}]\n'
            "          rds:\n            route_config_name: exacto\n"
            "            config_source: {resource_api_version: V3, api_config_source: {api_type: REST, "
            "transport_api_version: V3, cluster_names: [exactod], refresh_delay: 0.2s, request_timeout: 2s}}\n"
        )
        path = made.folder / "envoy.yaml"
        path.write_text(text)
        command = [install.envoy(), "-c", path, "--concurrency", "1", "--use-dynamic-base-id", "--log-level", "warning"]
        self.child = made.child("envoy", command)
        eventually("Envoy is up", lambda: ask("GET", f"http://127.0.0.1:{self.admin}/ready").status == 200)

    def stat(self, name: str) -> str:
        found = ask("GET", f"http://127.0.0.1:{self.admin}/stats?filter={STAT}").body.decode()
        lines = dict(line.split(": ", 1) for line in found.splitlines() if ": " in line)
        return lines.get(f"{STAT}.{name}", "").strip('"')

    def version(self) -> str:
        return self.stat("version_text")

    def call(self, header: str = "x-model"):
        headers = {header: GROUP, "Authorization": "Bearer client"}
        return ask("POST", f"http://127.0.0.1:{self.port}/v1/chat/completions", self.made.body(MODEL), headers)


def _current(made, token: str = "") -> str:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    found = ask("POST", f"{made.url}/v3/discovery:routes", {"resource_names": ["exacto"]}, headers)
    equal(found.status, 200, "discovery answers")
    return found.json()["version_info"]


def _converged(made, envoy: Envoy, token: str = "") -> None:
    eventually("Envoy runs the current routes", lambda: envoy.version() == _current(made, token))


def evaluation_takes_traffic_away_and_brings_it_back():
    """A bad provider is excluded by evaluation alone; the daemon dies and routing goes on; the provider heals."""
    with world(public_read=True) as made:
        made.admit_all()
        envoy = Envoy(made)
        _converged(made, envoy)
        made.reset()
        made.drive(60, envoy.call)
        check(all(n > 0 for n in made.counts().values()), f"all are asked: {made.counts()}")

        made.exclude("prov2")
        _converged(made, envoy)
        made.reset()
        answers = made.drive(40, envoy.call) + made.drive(10, lambda: envoy.call("x-ai-eg-model"))
        equal(made.counts()["prov2"], 0, "requests to the excluded one")
        equal(sum(made.counts().values()), 50, "requests to the others")
        named = {answer.headers["x-exacto-provider"] for answer in answers}
        equal(named, {"prov1", "prov3"}, "who has answered")
        for answer in answers:
            call = answer.json()["choices"][0]["message"]["tool_calls"][0]
            check(set(json.loads(call["function"]["arguments"])) == {"city", "nights"}, "every call is whole")

        made.kill_daemon()
        made.reset()
        made.drive(30, envoy.call)
        equal(made.counts()["prov2"], 0, "requests to the excluded one without the daemon")

        made.start_daemon()
        made.readmit("prov2")
        _converged(made, envoy)
        made.reset()
        made.drive(60, envoy.call)
        check(made.counts()["prov2"] > 0, f"the healed one is asked again: {made.counts()}")


def polls_are_mostly_304_and_tell_what_envoy_runs():
    """With a token, sent by a filter of the cluster."""
    with world() as made:
        made.admit_all()
        token = made.tokens["read"]
        envoy = Envoy(made, token=token)
        _converged(made, envoy, token)

        def polls(status: int) -> float:
            line = f'exactod_http_requests_total{{route="/v3/discovery:routes",status="{status}"}}'
            found = [row for row in made.get("/metrics").body.decode().splitlines() if row.startswith(line)]
            return float(found[0].split()[-1]) if found else 0.0

        before = polls(200)
        eventually("twenty polls found nothing new", lambda: polls(304) >= 20)
        # `_converged` has asked as well, and no more than Envoy's own first poll was answered at length.
        check(polls(200) <= before + 1, f"{polls(200)} polls answered at length, {before} before")

        def ack():
            found = [a for a in made.get("/v1/acks").json()["items"] if a["client"] == "envoy:exacto-e2e"]
            return found[0] if found else None

        eventually("its ack is there", lambda: ack() and not ack()["behind"])
        equal(polls(401), 0.0, "polls without a token")


def a_list_that_would_fall_too_low_stays_and_so_do_the_routes():
    """All but one are bad, and two must stay: the list is held, and Envoy routes to both as it says."""
    with world(public_read=True) as made:
        made.admit_all()
        envoy = Envoy(made)
        made.exclude("prov2")
        _converged(made, envoy)
        made.break_("prov3")
        made.sweep_until("the list is held", lambda: made.allowlist()["mode"] == "frozen")
        equal(made.listed(), {"prov1", "prov3"}, "who is listed")
        # Its weights may have changed on the way, as standings did; from here on nothing does.
        _converged(made, envoy)
        version, polled = envoy.version(), int(envoy.stat("update_attempt"))
        eventually("Envoy has asked again", lambda: int(envoy.stat("update_attempt")) >= polled + 5)
        equal((envoy.version(), envoy.stat("update_rejected")), (version, "0"), "Envoy's routes")
        made.drive(10, envoy.call)


def a_server_in_exactods_place_cannot_empty_the_routes():
    """Whoever takes the daemon's address and says nonsense: Envoy keeps what it has."""
    with world(public_read=True) as made:
        made.admit_all()
        envoy = Envoy(made)
        made.exclude("prov2")
        _converged(made, envoy)
        version = envoy.version()
        made.kill_daemon()
        good = json.loads(ask_offline(made))
        clusters = good["resources"][0]["virtual_hosts"][0]["routes"][0]["route"]["weighted_clusters"]
        clusters["clusters"] = []
        said = {"body": json.dumps({**good, "version_info": "empty"}).encode()}

        class Impostor(BaseHTTPRequestHandler):
            def log_message(self, *args):
                pass

            def do_POST(self):
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.send_response(200)
                self.send_header("Content-Length", str(len(said["body"])))
                self.end_headers()
                self.wfile.write(said["body"])

        server = ThreadingHTTPServer(("127.0.0.1", made.port), Impostor)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            eventually("Envoy refuses the empty set", lambda: int(envoy.stat("update_rejected")) >= 1)
            for nonsense in (b"{", b"[]", b'{"resources": [7]}', json.dumps(good).encode()[:-40]):
                said["body"] = nonsense
                refused = int(envoy.stat("update_rejected")) + int(envoy.stat("update_failure"))
                again = lambda: int(envoy.stat("update_rejected")) + int(envoy.stat("update_failure")) > refused
                eventually(f"Envoy refuses {nonsense[:20]}", again)
        finally:
            server.shutdown()
            server.server_close()
        equal(envoy.version(), version, "Envoy's routes")
        made.reset()
        made.drive(30, envoy.call)
        equal(made.counts()["prov2"], 0, "requests to the excluded one")


def ask_offline(made) -> str:
    """What exactod would say, from the store: the export as a file."""
    return made.exactod("export", "envoy", "--model", MODEL, json_=False)


def started_without_the_daemon_it_waits_and_catches_up():
    with world(public_read=True) as made:
        made.admit_all()
        made.exclude("prov2")
        made.kill_daemon()
        envoy = Envoy(made)
        equal(envoy.version(), "", "Envoy's routes without a daemon")
        made.start_daemon()
        _converged(made, envoy)
        made.reset()
        made.drive(30, envoy.call)
        equal(made.counts()["prov2"], 0, "requests to the excluded one")


SCENARIOS = [
    evaluation_takes_traffic_away_and_brings_it_back,
    polls_are_mostly_304_and_tell_what_envoy_runs,
    a_list_that_would_fall_too_low_stays_and_so_do_the_routes,
    a_server_in_exactods_place_cannot_empty_the_routes,
    started_without_the_daemon_it_waits_and_catches_up,
]
