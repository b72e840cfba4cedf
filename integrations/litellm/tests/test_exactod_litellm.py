"""The plugin without LiteLLM: what it adopts, whom it keeps, what it says of live answers."""

import asyncio
import base64
import gzip
import importlib.util
import json
import os
import tempfile
import threading
import time
import unittest
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

HERE = Path(__file__).resolve().parent
VECTORS = json.loads((HERE.parents[2] / "tests/vectors/allowlist.json").read_text())


def load():
    """The module anew, as a process would have it; without a daemon, so that no thread begins."""
    os.environ.pop("EXACTOD_URL", None)
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # LiteLLM would fetch it.
    spec = importlib.util.spec_from_file_location("exactod_litellm", HERE.parent / "exactod_litellm.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


plugin = load()
plugin.log.setLevel(100)


class Signer:
    def __init__(self, key_id="k1"):
        self.key_id, self.key = key_id, Ed25519PrivateKey.generate()

    def sign(self, body: bytes) -> str:
        return f'keyid="{self.key_id}",alg="ed25519",sig="{base64.b64encode(self.key.sign(body)).decode()}"'

    def jwk(self) -> dict:
        x = base64.urlsafe_b64encode(self.key.public_key().public_bytes_raw()).rstrip(b"=").decode()
        return {"kty": "OKP", "crv": "Ed25519", "kid": self.key_id, "x": x, "alg": "EdDSA", "use": "sig"}


def document(version=5, groups=None, hours=24.0) -> bytes:
    expires = (datetime.now(timezone.utc) + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")
    groups = {"m:exacto": ["a", "b"]} if groups is None else groups
    return json.dumps({"schema": "exacto.groups/v1", "version": version, "expires_at": expires, "groups": groups}).encode()


class Folder(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.signer = Signer()

    def settings(self, **env):
        env = {"EXACTOD_URL": "http://127.0.0.1:9", "EXACTOD_STATE": self.folder.name + "/state", **env}
        return plugin.Settings(env)

    def pinned(self, *signers, **env):
        path = os.path.join(self.folder.name, "keys.json")
        Path(path).write_text(json.dumps({"keys": [signer.jwk() for signer in signers or [self.signer]]}))
        return self.settings(EXACTOD_KEYS=path, **env)

    def held(self, settings=None):
        held = plugin.Held(settings or self.pinned())
        held.load()
        return held

    def adopt(self, held, body, signer=None, now=None):
        return held.adopt(body, (signer or self.signer).sign(body), '"e"', now or time.time())


class Signatures(unittest.TestCase):
    def test_the_project_s_vectors_hold(self):
        keys = plugin.read_keys(json.dumps(VECTORS["public_keys"]))
        body = VECTORS["document"]["bytes"].encode()
        for name in ("signature_k1", "signature_k1_k2"):
            for key_id, signature in plugin.read_signatures(VECTORS["document"][name]):
                self.assertTrue(plugin.verifies(keys[key_id], signature, body))
                self.assertFalse(plugin.verifies(keys[key_id], signature, body + b" "))

    def test_every_vector_ends_as_it_must_as_far_as_signatures_go(self):
        keys = plugin.read_keys(json.dumps(VECTORS["public_keys"]))
        decided = {"signature_form", "bad_signature", "unsigned", "unknown_key"}
        seen = set()
        for case in VECTORS["cases"]:
            if case["outcome"] == "too_large":
                continue
            believed = {key: keys[key] for key in case["believed"]}
            try:
                plugin.check_signature(case["document"].encode(), case["signature"], believed, case["signed"])
                outcome = "passed"
            except plugin.Refused as error:
                outcome = error.code
            due = case["outcome"] if case["outcome"] in decided else "passed"
            self.assertEqual(outcome, due, case["name"])
            seen.add(outcome)
        self.assertTrue(decided | {"passed"} <= seen, seen)


class Adopting(Folder):
    def refused(self, held, body, code, signature=None, now=None):
        before = (held.index, held.body)
        with self.assertRaises(plugin.Refused) as caught:
            held.adopt(body, self.signer.sign(body) if signature is None else signature, '"x"', now or time.time())
        self.assertEqual(caught.exception.code, code)
        self.assertEqual((held.index, held.body), before)

    def test_a_list_is_adopted_kept_and_there_again(self):
        held = self.held()
        self.assertEqual(self.adopt(held, document()), [])
        self.assertIsNone(self.adopt(held, held.body), "the one in use")
        again = self.held()
        self.assertEqual((again.index.version, again.etag), (5, '"e"'))
        self.assertEqual(again.index.groups, {"m:exacto": frozenset("ab")})
        # The same version may name others: names and aliases are the configuration's.
        self.assertEqual(self.adopt(held, document(groups={"n:exacto": ["a"]})), [])

    def test_nothing_bad_is_adopted(self):
        held = self.held()
        good = document(7)
        self.adopt(held, good)
        signature = self.signer.sign(good)
        for body in (good + b" ", good[:-1], good.replace(b'"b"', b'"c"'), b"", b"{}"):
            self.refused(held, body, "bad_signature", signature)
        self.refused(held, good, "unknown_key", Signer("other").sign(good))
        self.refused(held, good, "unsigned", "")
        self.refused(held, good, "signature_form", "k1")
        self.refused(held, document(6), "rolled_back")
        self.refused(held, document(8, groups={}), "empty")
        self.refused(held, document(8, groups={"m:exacto": []}), "empty")
        self.refused(held, document(8, hours=-1), "expired")
        self.refused(held, document(8).replace(b"groups/v1", b"groups/v2"), "schema")
        for body in (b"[]", b"{", b"\xff", document(0), document(True), document("8"), document(8, groups=[])):
            code = "schema" if body == b"{}" else "not_a_list"
            self.refused(held, body, code)
        self.refused(held, document(8, groups={"m": "ab"}), "not_a_list")
        self.refused(held, document(8, groups={"m": ["x" * plugin.DOCUMENT_BYTES_MAX]}), "too_large")
        self.assertEqual(self.held().index.version, 7)

    def test_a_file_that_was_tampered_with_is_not_used(self):
        held = self.held()
        self.adopt(held, document(7))
        kept = json.loads(Path(held.file).read_text())
        for change in (
            {"body": kept["body"].replace('"b"', '"c"')},
            {"signature": None},
            {"signature": Signer().sign(kept["body"].encode())},
            {"body": 7},
        ):
            Path(held.file).write_text(json.dumps({**kept, **change}))
            self.assertIsNone(self.held().index, change)
        Path(held.file).write_text("{")
        self.assertIsNone(self.held().index)
        # A list delivered with the gateway stands in for it, if it is signed.
        bundled = os.path.join(self.folder.name, "bundled.json")
        Path(bundled).write_text(json.dumps(kept))
        self.assertEqual(self.held(self.pinned(EXACTOD_BUNDLED=bundled)).index.version, 7)

    def test_another_worker_that_has_come_further_is_not_overwritten(self):
        first, second = self.held(), self.held()
        self.adopt(second, document(9))
        self.adopt(first, document(8))
        self.assertEqual(self.held().index.version, 9)

    def test_keys_that_are_pinned_and_cannot_be_read_believe_nobody(self):
        for text in (None, "", "{", "[]", '{"keys": []}', '{"keys": [{"kty": "OKP"}]}'):
            path = os.path.join(self.folder.name, "odd.json")
            if text is None:
                Path(path).unlink(missing_ok=True)
            else:
                Path(path).write_text(text)
            held = self.held(self.settings(EXACTOD_KEYS=path))
            with self.assertRaises(plugin.Refused):
                self.adopt(held, document())

    def test_without_keys_unsigned_is_taken_unless_it_is_forbidden(self):
        held = self.held(self.settings())
        self.assertEqual(held.adopt(document(1), None, None, time.time()), [])
        with self.assertRaises(plugin.Refused):
            self.held(self.settings(EXACTOD_SIGNED="1")).adopt(document(2), None, None, time.time())
        held.believe({"k1": self.signer.key.public_key().public_bytes_raw()})
        with self.assertRaises(plugin.Refused):
            held.adopt(document(2), None, None, time.time())
        # Once believed, believed after a restart as well.
        with self.assertRaises(plugin.Refused):
            self.held(self.settings()).adopt(document(2), None, None, time.time())

    def test_a_state_folder_that_cannot_be_written_is_no_obstacle(self):
        blocked = os.path.join(self.folder.name, "file")
        Path(blocked).write_text("")
        held = self.held(self.pinned(EXACTOD_STATE=blocked + "/below"))
        self.adopt(held, document(3))
        self.assertEqual(held.index.version, 3)


class Filtering(Folder):
    DEPLOYMENTS = [{"model_info": {"id": name}} for name in "abc"]

    def handler(self, body=None, **env):
        handler = plugin.Exactod(self.pinned(**env))
        if body:
            self.adopt(handler.held, body)
        handler.settings.url = ""
        return handler

    def kept(self, handler, model="m:exacto", deployments=None, now=None):
        found = handler.filtered(model, self.DEPLOYMENTS if deployments is None else deployments, now or time.time())
        return [one["model_info"]["id"] for one in found]

    def test_the_listed_ones_stay(self):
        self.assertEqual(self.kept(self.handler(document())), ["a", "b"])

    def test_all_stay_where_nothing_is_known_or_nobody_would_be_left(self):
        self.assertEqual(self.kept(self.handler()), ["a", "b", "c"])
        self.assertEqual(self.kept(self.handler(document()), model="other"), ["a", "b", "c"])
        handler = self.handler(document(groups={"m:exacto": ["x"]}))
        self.assertEqual(self.kept(handler), ["a", "b", "c"])
        self.assertEqual(handler.filtered("m:exacto", [], time.time()), [])
        odd = [{"litellm_params": {}}, {"model_info": None}, {"model_info": {"id": "a"}}]
        self.assertEqual(self.handler(document()).filtered("m:exacto", odd, time.time()), [odd[2]])

    def test_a_list_past_its_time_is_kept_or_opened_as_the_operator_says(self):
        later = time.time() + 25 * 3600
        self.assertEqual(self.kept(self.handler(document()), now=later), ["a", "b"])
        opened = self.handler(document(), EXACTOD_ON_EXPIRED="open", EXACTOD_STATE=self.folder.name + "/other")
        self.assertEqual(self.kept(opened, now=later), ["a", "b", "c"])
        self.assertEqual(self.kept(opened), ["a", "b"])

    def test_whatever_goes_wrong_a_request_goes_on(self):
        handler = self.handler(document())

        def broken(*args):
            raise RuntimeError("broken")

        handler.filtered = broken
        found = asyncio.run(handler.async_filter_deployments("m:exacto", self.DEPLOYMENTS, None, {}, None))
        self.assertIs(found, self.DEPLOYMENTS)
        handler.observer = object()
        asyncio.run(handler.async_log_success_event({"standard_logging_object": {"model_id": "a", "model_group": "m"}}, 0, 0, 0))
        asyncio.run(handler.async_post_call_failure_deployment_hook(None, None, None))


TOOL = {
    "type": "function",
    "function": {"name": "book", "parameters": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}},
}


def answer(arguments, name="book", content=None):
    calls = [{"id": "1", "type": "function", "function": {"name": name, "arguments": arguments}}] if arguments is not None else None
    return {"choices": [{"message": {"content": content, "tool_calls": calls}, "finish_reason": "tool_calls"}]}


class Judging(unittest.TestCase):
    def judged(self, response, tools=(TOOL,)):
        return plugin.Judge()(list(tools), response)[2:]

    def test_calls_are_judged_by_json_name_and_schema(self):
        self.assertEqual(self.judged(answer('{"n": 3}')), (True, None))
        self.assertEqual(self.judged(answer('{"n": 3')), (False, "json"))
        self.assertEqual(self.judged(answer("{'n': 3}")), (False, "json"))
        self.assertEqual(self.judged(answer('{"n": "3"}')), (False, "schema"))
        self.assertEqual(self.judged(answer("[3]")), (False, "schema"))
        self.assertEqual(self.judged(answer("")), (False, "schema"), "no arguments are an empty object")
        self.assertEqual(self.judged(answer('{"n": 3}', name="look")), (False, "unknown_tool"))
        self.assertEqual(self.judged(answer(None, content="<tool_call>{}")), (False, "leaked_text"))
        self.assertEqual(self.judged(answer(None, content="Good morning")), (None, None))
        deep = "[" * 100_000
        self.assertEqual(self.judged(answer(deep)), (False, "json"))

    def test_what_cannot_be_judged_is_not(self):
        self.assertEqual(self.judged(answer('{"n": 3}'), tools=()), (None, None))
        bare = {"type": "function", "function": {"name": "book"}}
        self.assertEqual(self.judged(answer('{"n": '), tools=(bare,)), (None, None))
        for odd in ({"type": 7}, {"$ref": "http://example.com/schema"}, {"$ref": "#/nowhere"}):
            tool = {"type": "function", "function": {"name": "book", "parameters": odd}}
            self.assertEqual(self.judged(answer('{"n": 3}'), tools=(tool,)), (None, None), odd)
        for redacted in ({"text": plugin.REDACTED}, None, {}, {"choices": []}, {"choices": [{}]}):
            self.assertEqual(self.judged(redacted), (None, None))
        self.assertEqual(self.judged(answer(plugin.REDACTED)), (None, None))
        self.assertEqual(self.judged(answer(None, content=plugin.REDACTED)), (None, None))

    def test_one_bad_call_among_several_is_a_bad_answer_and_one_unjudged_leaves_it_open(self):
        good, bad, hidden = (
            {"function": {"name": "book", "arguments": text}} for text in ('{"n": 3}', "{", plugin.REDACTED)
        )

        def several(*calls):
            return {"choices": [{"message": {"tool_calls": list(calls)}}]}

        self.assertEqual(self.judged(several(good, bad)), (False, "json"))
        self.assertEqual(self.judged(several(good, hidden)), (None, None))
        self.assertEqual(self.judged(several(hidden, bad)), (False, "json"))
        self.assertEqual(self.judged(several(good, good)), (True, None))


class Records(unittest.TestCase):
    PAYLOAD = {
        "litellm_call_id": "c", "model_id": "prov2", "model_group": "kimi:exacto", "status": "success", "stream": True,
        "startTime": 1790000000.0, "completionStartTime": 1790000000.25, "endTime": 1790000001.5, "response_time": 1.5,
        "prompt_tokens": 700, "completion_tokens": 50, "response_cost": 0.0004, "model_parameters": {"tools": [TOOL]},
        "messages": [{"role": "user", "content": "a secret"}], "response": answer('{"n": 3'),
        "error_information": {"error_code": "", "error_class": ""},
    }  # fmt: skip

    def record(self, **changes):
        return plugin.record_of({**self.PAYLOAD, **changes}, plugin.Judge())

    def test_a_success_becomes_a_verdict_without_content(self):
        record = self.record()
        self.assertEqual((record["model"], record["provider"], record["ok"]), ("kimi", "prov2", True))
        self.assertEqual((record["tool_call_valid"], record["invalid_reason"]), (False, "json"))
        self.assertEqual((record["ttft_ms"], record["latency_ms"], record["http_status"]), (250.0, 1500.0, 200))
        self.assertEqual(record["ts"], "2026-09-21T14:13:21.500Z")
        self.assertEqual((record["input_tokens"], record["output_tokens"], record["cost_usd"]), (700, 50, 0.0004))
        self.assertNotIn("secret", json.dumps(record))
        self.assertEqual(record["id"], self.record()["id"], "told twice it is one record")
        self.assertNotEqual(record["id"], self.record(model_id="prov3")["id"])
        self.assertIsNone(self.record(stream=False)["ttft_ms"], "without a stream the time to the first token is unknown")

    def test_a_failure_says_its_class_and_nothing_of_tools(self):
        failed = {"status": "failure", "response": {"text": plugin.REDACTED}, "prompt_tokens": 0, "response_cost": 0}
        error = {"error_code": "429", "error_class": "RateLimitError", "error_message": "a secret"}
        record = self.record(**failed, error_information=error)
        self.assertEqual((record["ok"], record["http_status"], record["error_class"]), (False, 429, "RateLimitError"))
        self.assertEqual((record["tool_call_valid"], record["input_tokens"], record["ttft_ms"]), (None, None, None))
        self.assertNotIn("secret", json.dumps(record))
        odd = self.record(**failed, error_information={"error_code": "500_PROVIDER_INTERNAL_ERROR"})
        self.assertEqual((odd["http_status"], odd["error_class"]), (None, "unknown"))

    def test_what_is_about_no_deployment_of_a_group_is_not_told(self):
        self.assertIsNone(self.record(model_id=""))
        self.assertIsNone(self.record(model_group=None))

    def test_an_attempt_that_failed_is_told_from_the_request(self):
        class RateLimitError(Exception):
            status_code = 429

        request = {
            "metadata": {"model_group": "kimi:exacto", "model_info": {"id": "prov2"}}, "tools": [TOOL],
            "litellm_call_id": "c", "messages": [{"content": "a secret"}], "stream": True,
        }  # fmt: skip
        record = plugin.record_of_failure(request, RateLimitError("a secret"), 1790000000.0)
        self.assertEqual((record["provider"], record["http_status"], record["error_class"]), ("prov2", 429, "RateLimitError"))
        self.assertEqual((record["ok"], record["tools_offered"]), (False, 1))
        self.assertNotIn("secret", json.dumps(record))
        self.assertIsNone(plugin.record_of_failure({}, RateLimitError(), 0.0))

    def test_odd_payloads_are_no_exception(self):
        for changes in (
            {"response": 7}, {"response": {"choices": 7}}, {"model_parameters": None}, {"startTime": "x"},
            {"response_time": float("nan")}, {"completionStartTime": None, "endTime": None}, {"prompt_tokens": -1},
        ):  # fmt: skip
            try:
                record = self.record(**changes)
            except TypeError:
                continue  # `observe` leaves such an answer unjudged.
            self.assertEqual(record["provider"], "prov2")
            json.dumps(record, allow_nan=False)


class Talking(Folder):
    """The threads, against a server that plays the daemon."""

    def setUp(self):
        super().setUp()
        self.routes, self.asked, self.lock = {}, [], threading.Lock()
        test = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args):
                pass

            def answer(self):
                path = self.path.split("?")[0]
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                with test.lock:
                    test.asked.append((self.command, self.path, dict(self.headers), body))
                status, headers, content = test.routes.get(path, (404, {}, b"{}"))
                if headers.get("ETag") and self.headers.get("If-None-Match") == headers["ETag"]:
                    status, content = 304, b""
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = answer

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def serve(self, body, signer=None, etag='"1"'):
        signer = signer or self.signer
        self.routes["/v1/export/litellm"] = (200, {"ETag": etag, "Exacto-Signature": signer.sign(body)}, body)

    def show(self, *signers):
        keys = json.dumps({"keys": [signer.jwk() for signer in signers]}).encode()
        self.routes["/.well-known/exacto-keys.json"] = (200, {}, keys)

    def follower(self, **env):
        settings = self.settings(EXACTOD_URL=self.url, EXACTOD_TOKEN="secret-token", EXACTOD_POLL="1", **env)
        held = self.held(settings)
        return plugin.Follower(settings, held, plugin.Daemon(settings))

    def acks(self):
        with self.lock:
            return [json.loads(body) for method, path, _, body in self.asked if path == "/v1/acks"]

    def test_a_first_poll_believes_the_keys_that_are_shown_and_adopts(self):
        self.show(self.signer)
        self.serve(document(5))
        follower = self.follower(EXACTOD_CLIENT="here")
        self.assertTrue(follower.poll())
        self.assertEqual(follower.held.index.version, 5)
        self.assertEqual(self.acks(), [{"client": "here", "version": 5, "status": "adopted", "detail": ""}])
        self.assertTrue(follower.poll())
        sent = [headers for method, path, headers, _ in self.asked if path.startswith("/v1/export/litellm?wait=1s")]
        self.assertEqual(sent[1]["If-None-Match"], '"1"')
        self.assertEqual(sent[1]["Authorization"], "Bearer secret-token")

    def test_a_next_key_is_learnt_from_one_that_is_believed_and_from_nobody_else(self):
        self.show(self.signer)
        self.serve(document(5))
        follower = self.follower()
        follower.poll()
        following, thief = Signer("k2"), Signer("k3")
        self.show(self.signer, following, thief)
        body = document(6)
        both = f"{self.signer.sign(body)}, {following.sign(body)}"
        self.routes["/v1/export/litellm"] = (200, {"ETag": '"2"', "Exacto-Signature": both}, body)
        follower.poll()
        self.assertEqual(sorted(follower.held.believed), ["k1", "k2"])
        self.serve(document(7), thief, '"3"')
        self.assertFalse(follower.poll())
        self.serve(document(7), following, '"4"')
        self.assertTrue(follower.poll())
        # What an id stands for does not change.
        imposter = Signer("k1")
        self.show(imposter)
        self.serve(document(8), imposter, '"5"')
        self.assertFalse(follower.poll())
        self.assertEqual(follower.held.index.version, 7)

    def test_what_is_refused_is_told_once(self):
        self.show(self.signer)
        self.serve(document(5))
        follower = self.follower()
        follower.poll()
        self.serve(document(4), etag='"old"')
        for _ in range(3):
            self.assertFalse(follower.poll())
        rejected = [ack for ack in self.acks() if ack["status"] == "rejected"]
        self.assertEqual([(ack["version"], ack["detail"][:11]) for ack in rejected], [(4, "rolled_back")])

    def test_a_daemon_that_is_away_redirects_or_fails_changes_nothing(self):
        self.show(self.signer)
        self.serve(document(5))
        follower = self.follower()
        follower.poll()
        elsewhere = self.url + "/elsewhere"
        for route in ((500, {}, b"x"), (302, {"Location": elsewhere}, b""), (401, {}, b"{}"), (200, {}, b"")):
            self.routes["/v1/export/litellm"] = route
            self.assertFalse(follower.poll())
        self.assertNotIn("/elsewhere", [path for _, path, _, _ in self.asked])
        self.assertEqual(follower.held.index.version, 5)

    def observer(self):
        settings = self.settings(EXACTOD_URL=self.url, EXACTOD_INGEST_TOKEN="in")
        return plugin.Observer(settings, plugin.Daemon(settings))

    def sent(self):
        with self.lock:
            bodies = [body for _, path, _, body in self.asked if path == "/v1/observations"]
        return [[json.loads(line) for line in gzip.decompress(body).splitlines()] for body in bodies]

    def test_verdicts_are_sent_in_batches(self):
        self.routes["/v1/observations"] = (202, {}, b"{}")
        observer = self.observer()
        for n in range(plugin.BATCH_MAX + 7):
            observer.add({"id": str(n)})
        self.assertEqual(observer.flush(), 0.0)
        self.assertEqual([len(batch) for batch in self.sent()], [plugin.BATCH_MAX, 7])
        headers = self.asked[0][2]
        self.assertEqual((headers["Authorization"], headers["Content-Encoding"]), ("Bearer in", "gzip"))

    def test_verdicts_wait_while_the_daemon_is_busy_and_keep_their_order(self):
        self.routes["/v1/observations"] = (429, {"Retry-After": "7"}, b"")
        observer = self.observer()
        for n in range(3):
            observer.add({"id": n})
        pause = observer.flush()
        self.assertTrue(7 <= pause <= 8.001, pause)
        self.routes["/v1/observations"] = (202, {}, b"{}")
        self.assertEqual(observer.flush(), 0.0)
        self.assertEqual([record["id"] for record in self.sent()[-1]], [0, 1, 2])

    def test_verdicts_that_are_refused_or_too_many_are_dropped_and_counted(self):
        self.routes["/v1/observations"] = (403, {}, b"{}")
        observer = self.observer()
        observer.add({"id": 1})
        self.assertEqual((observer.flush(), observer.dropped, len(observer.waiting)), (0.0, 1, 0))
        for n in range(plugin.QUEUE_MAX + 5):
            observer.add({"id": n})
        self.assertEqual((len(observer.waiting), observer.dropped), (plugin.QUEUE_MAX, 6))

    def test_the_handler_follows_by_itself(self):
        self.show(self.signer)
        self.serve(document(5, groups={"m:exacto": ["a"]}))
        settings = self.settings(EXACTOD_URL=self.url, EXACTOD_POLL="1")
        handler = plugin.Exactod(settings)
        self.addCleanup(handler.stop)
        deployments = [{"model_info": {"id": name}} for name in "ab"]
        until = time.monotonic() + 60
        found = deployments
        while len(found) != 1 and time.monotonic() < until:
            found = asyncio.run(handler.async_filter_deployments("m:exacto", deployments, None, {}, None))
            threading.Event().wait(0.01)
        self.assertEqual(found, deployments[:1])


if __name__ == "__main__":
    unittest.main()
