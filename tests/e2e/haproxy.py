"""HAProxy 2.6 asks exactod's agent-check for the state of its servers (docs/gateways.md)."""

import socket

import install
from kit import ALIAS, MODEL, ask, check, equal, eventually, free_port, world


class Haproxy:
    def __init__(self, made):
        self.made, self.port = made, free_port()
        self.socket = made.folder / "haproxy.sock"
        servers = "".join(
            f"  server {name} {made.base[name].split('/')[2]} weight 100 agent-send \"{ALIAS}/{name}\\n\"\n"
            for name in made.providers
        )
        text = (
            f"global\n  stats socket {self.socket} mode 600 level admin\n"
            "defaults\n  mode http\n  timeout connect 2s\n  timeout client 60s\n  timeout server 60s\n"
            f"frontend f\n  bind 127.0.0.1:{self.port}\n  default_backend kimi\n"
            "backend kimi\n  balance roundrobin\n"
            f"  default-server agent-check agent-addr 127.0.0.1 agent-port {made.agent_port} agent-inter 200ms\n{servers}"
        )
        path = made.folder / "haproxy.cfg"
        path.write_text(text)
        command, env = install.haproxy()
        self.child = made.child("haproxy", [command, "-db", "-f", path], env)
        eventually("HAProxy is up", lambda: self.child.alive() and self.states())

    def states(self) -> dict[str, tuple[str, int]]:
        """Status and weight of every server, as its statistics socket shows them."""
        with socket.socket(socket.AF_UNIX) as told:
            told.settimeout(10)
            told.connect(str(self.socket))
            told.sendall(b"show stat\n")
            text = b"".join(iter(lambda: told.recv(65536), b"")).decode()
        head, *rows = [line.split(",") for line in text.lstrip("# ").splitlines() if line]
        found = [dict(zip(head, row)) for row in rows]
        return {r["svname"]: (r["status"], int(r["weight"])) for r in found if r["svname"] in self.made.providers}

    def drained(self, name: str) -> bool:
        # Without health checks a server that is in service is called "no check".
        return self.states()[name][0].startswith("DRAIN")

    def call(self):
        headers = {"Authorization": "Bearer client"}
        return ask("POST", f"http://127.0.0.1:{self.port}/v1/chat/completions", self.made.body(MODEL), headers)


def evaluation_takes_traffic_away_and_brings_it_back():
    """A bad provider is excluded by evaluation alone; the daemon dies and routing goes on; the provider heals."""
    with world(public_read=True) as made:
        made.admit_all()
        proxy = Haproxy(made)
        made.reset()
        made.drive(30, proxy.call)
        equal(made.counts(), {"prov1": 10, "prov2": 10, "prov3": 10}, "all are asked in turn")

        made.exclude("prov2")
        eventually("prov2 is drained", lambda: proxy.drained("prov2"))
        made.reset()
        made.drive(40, proxy.call)
        equal(made.counts(), {"prov1": 20, "prov2": 0, "prov3": 20}, "requests by provider")

        made.kill_daemon()
        made.reset()
        made.drive(30, proxy.call)
        equal(made.counts(), {"prov1": 15, "prov2": 0, "prov3": 15}, "requests without the daemon")
        check(proxy.drained("prov2"), f"prov2 stays drained: {proxy.states()}")

        made.start_daemon()
        made.readmit("prov2")
        eventually("prov2 is up again", lambda: not proxy.drained("prov2"))
        made.reset()
        made.drive(30, proxy.call)
        check(made.counts()["prov2"] > 0, f"the healed one is asked again: {made.counts()}")


def weights_are_kept():
    """Twice the price is half the weight, where the policy ranks by price: two of three requests go to the cheaper one."""
    with world(public_read=True) as made:

        def priced(text: str) -> str:
            for name, price in (("prov1", 1.0), ("prov2", 1.0), ("prov3", 2.0)):
                line = f'provider = "{name}"\nslugs'
                cost = f"price = {{ input_per_mtok = {price}, output_per_mtok = {price} }}"
                text = text.replace(line, f'provider = "{name}"\n{cost}\nslugs')
            return text.replace("min_providers = 2", 'min_providers = 2\nrank_by = "price"')

        made.edit(priced)
        made.admit_all()
        made.exclude("prov2")
        weights = {entry["id"]: entry["weight"] for entry in made.allowlist()["providers"]}
        equal(weights, {"prov1": 100, "prov3": 50}, "weights on the list")
        proxy = Haproxy(made)
        eventually("HAProxy has the weights", lambda: proxy.states()["prov3"][1] == 50)
        eventually("prov2 is drained", lambda: proxy.drained("prov2"))
        made.reset()
        made.drive(90, proxy.call)
        equal(made.counts(), {"prov1": 60, "prov2": 0, "prov3": 30}, "requests by provider")


def a_list_that_would_fall_too_low_is_no_503():
    """HAProxy obeys a drain of all servers; exactod never asks for it."""
    with world(public_read=True) as made:
        made.admit_all()
        proxy = Haproxy(made)
        for name in ("prov2", "prov3"):
            made.break_(name)
        made.sweep_until("the list is held", lambda: made.allowlist()["mode"] == "frozen")
        made.drive(30, proxy.call)


def started_without_the_daemon_it_takes_all():
    with world(public_read=True) as made:
        proxy = Haproxy(made)
        made.drive(30, proxy.call)
        equal(made.counts(), {"prov1": 10, "prov2": 10, "prov3": 10}, "requests by provider")
        made.admit_all()
        eventually("all are up", lambda: not any(proxy.drained(name) for name in proxy.states()))


SCENARIOS = [
    evaluation_takes_traffic_away_and_brings_it_back,
    weights_are_kept,
    a_list_that_would_fall_too_low_is_no_503,
    started_without_the_daemon_it_takes_all,
]
