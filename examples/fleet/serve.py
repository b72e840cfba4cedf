"""serve.py NAME: one server of the fleet, in the foreground.

llama.cpp's own HTTP server runs in this process on a free inner port. A front on the server's port passes everything on,
and changes chat requests the way fleet.toml says this provider would. Both listen on 127.0.0.1 only.
"""
import http.client
import json
import os
import socket
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import xllamacpp

import fleet

ALIAS = "fleet-model"     # all servers claim to serve this
CONTEXT = 2048            # tokens; the cases need a quarter of it
INNER_TIMEOUT_S = 600
PIECE_BYTES = 64 << 10


def free_port():
    with socket.socket() as s:
        s.bind((fleet.HOST, 0))
        return s.getsockname()[1]


def load(server):
    """Loads the model and serves it on a free port: (the object that must stay alive, the port)."""
    p = xllamacpp.CommonParams()
    p.model.path = str(fleet.weights_path(server["weights"]))
    p.model_alias = {ALIAS}
    p.chat_template = (fleet.HERE / server["template"]).read_text()
    p.use_jinja = True
    p.n_ctx = CONTEXT
    p.n_parallel = 1
    for cpu in (p.cpuparams, p.cpuparams_batch):
        cpu.n_threads = 1     # several servers share few cores:
        cpu.poll = 0          # waiting threads must sleep, not spin
    p.n_threads_http = 2
    p.cache_ram_mib = 0
    p.n_ctx_checkpoints = 0
    p.fit_params = False
    p.offline = True
    p.ui = False
    p.verbosity = 1
    if kv := server.get("kv_cache"):
        p.cache_type_k = p.cache_type_v = getattr(xllamacpp.ggml_type, f"GGML_TYPE_{kv}")
        p.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_ENABLED
    p.hostnames = [fleet.HOST]
    p.port = free_port()
    return xllamacpp.Server(p), p.port


class Front(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server_entry = {}
    inner_port = 0

    def do_GET(self):
        self.forward(None)

    def do_POST(self):
        size = self.headers.get("content-length")
        if size is None:
            return self.answer(411, "application/json", b'{"error":{"message":"content-length is required"}}')
        body = self.rfile.read(int(size))
        if self.path.partition("?")[0].endswith("/chat/completions"):
            body = self.as_this_provider_would(body)
        self.forward(body)

    def as_this_provider_would(self, body):
        try:
            request = json.loads(body)
        except ValueError:
            return body       # the inner server refuses it in its own words
        if isinstance(request, dict):
            for key in self.server_entry.get("drop", []):
                request.pop(key, None)
            request.update(self.server_entry.get("override", {}))
        return json.dumps(request).encode()

    def forward(self, body):
        inner = http.client.HTTPConnection(fleet.HOST, self.inner_port, timeout=INNER_TIMEOUT_S)
        try:
            inner.request(self.command, self.path, body, {"content-type": "application/json"})
            response = inner.getresponse()
            kind = response.getheader("content-type", "application/json")
            if "event-stream" in kind:
                self.stream(response, kind)
            else:
                self.answer(response.status, kind, response.read())
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True      # the client left
        except (OSError, http.client.HTTPException) as e:
            self.answer(502, "application/json", json.dumps({"error": {"message": f"inner server: {e}"}}).encode())
        finally:
            inner.close()                     # ends a generation that nobody waits for

    def head(self, status, kind):
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header(fleet.WHO, fleet.who(self.server_entry["name"], os.getpid()))

    def answer(self, status, kind, body):
        self.head(status, kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def stream(self, response, kind):
        self.head(response.status, kind)
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        while piece := response.read1(PIECE_BYTES):
            self.wfile.write(piece)

    def log_message(self, *args):
        pass


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: serve.py NAME")
    server = fleet.named([sys.argv[1]])[0]
    try:
        # Before the model is loaded: a port in use shows at once.
        front = ThreadingHTTPServer((fleet.HOST, server["port"]), Front)
    except OSError as e:
        sys.exit(f"cannot listen on {fleet.HOST}:{server['port']}: {e.strerror}")
    Front.server_entry = server
    model, Front.inner_port = load(server)
    front.serve_forever()
    del model


if __name__ == "__main__":
    main()
