"""Portkey 1.15.2 routes by the config that each request brings: exactod's export (docs/gateways.md)."""

import json

import install
from kit import GROUP, MODEL, ask, check, equal, eventually, free_port, world

#: It listens on every interface and has no setting for that.
LOOPBACK = """const net = require("net");
const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (first, ...rest) {
  if (typeof first === "number" || typeof first === "string") {
    const done = rest.find((r) => typeof r === "function");
    return listen.call(this, { port: Number(first), host: "127.0.0.1" }, done);
  }
  if (first && typeof first === "object" && first.port !== undefined) first.host = "127.0.0.1";
  return listen.call(this, first, ...rest);
};
"""


class Portkey:
    def __init__(self, made):
        self.made, self.port = made, free_port()
        (made.folder / "loopback.cjs").write_text(LOOPBACK)
        command = ["node", install.portkey(), f"--port={self.port}", "--headless"]
        self.child = made.child("portkey", command, {"NODE_OPTIONS": f"--require {made.folder}/loopback.cjs"})
        eventually("Portkey is up", lambda: self.child.alive() and ask("GET", f"http://127.0.0.1:{self.port}/").status)

    def call(self, config: dict):
        headers = {"x-portkey-config": json.dumps(config), "Authorization": "Bearer client"}
        return ask("POST", f"http://127.0.0.1:{self.port}/v1/chat/completions", self.made.body(GROUP), headers)


def config_of(made) -> dict:
    """What a client does with the export: it puts its own key into every target."""
    answer = made.get(f"/v1/export/portkey/{MODEL}")
    equal(answer.status, 200, "the export")
    config = answer.json()
    for target in config["targets"]:
        target["api_key"] = "client"
    return config


def the_export_as_it_is_routes_to_listed_providers_alone():
    with world() as made:
        made.admit_all()
        gateway = Portkey(made)
        before = config_of(made)
        equal({target["id"] for target in before["targets"]}, {"prov1", "prov2", "prov3"}, "targets of the export")
        made.reset()
        made.drive(60, lambda: gateway.call(before))
        check(all(n > 0 for n in made.counts().values()), f"all are asked: {made.counts()}")

        made.exclude("prov2")
        eventually("the daemon serves the list", lambda: "prov2" not in made.listed())
        config = config_of(made)
        hosts = [target["custom_host"] for target in config["targets"]]
        check(made.base["prov2"] not in hosts and len(hosts) == 2, f"targets of the export: {hosts}")
        made.kill_daemon()
        made.reset()
        answers = made.drive(40, lambda: gateway.call(config))
        equal(made.counts()["prov2"], 0, "requests to the excluded one")
        equal(sum(made.counts().values()), 40, "requests to the others")
        used = {answer.headers["x-portkey-last-used-option-index"] for answer in answers}
        check(used <= {"config.targets[0]", "config.targets[1]"}, f"the targets that Portkey says it has used: {used}")


SCENARIOS = [the_export_as_it_is_routes_to_listed_providers_alone]
