"""exactod for LiteLLM: routes a model group to the endpoints that exactod lists, and reports how tool calls went.

Copy this file beside LiteLLM's config.yaml (or ``pip install`` it) and name it there:

    litellm_settings:
      callbacks: ["exactod_litellm.handler"]

A deployment is joined to an endpoint by its ``model_info.id``, which is the endpoint's ``slugs.litellm`` in exactod's config
(the endpoint's id without one). Groups are called as exactod's index says: ``<public name>`` and ``<alias>:exacto``.

What it promises:

* A request never fails, and never waits, because of this file or of a daemon that is away.
* A list is adopted only when it is signed by a believed key, whole, not expired and not older than the one in use.
  Otherwise the one in use stays. It is kept on disk, and is there again after a restart without the daemon.
* Where a list would leave nobody, or the group is not in it, every deployment stays.
* No prompt and no answer leaves this process: only verdicts do.

Settings are environment variables; ``EXACTOD_URL`` alone is needed. They are told in exactod's docs/gateways.md.
"""

from __future__ import annotations

import base64
import binascii
import collections
import gzip
import hashlib
import json
import logging
import os
import random
import re
import socket
import ssl
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from datetime import datetime, timezone

try:
    from litellm.integrations.custom_logger import CustomLogger
except ImportError:  # Tests and tools may look at this file without LiteLLM.

    class CustomLogger:  # type: ignore[no-redef]
        """Stands in for LiteLLM's."""


__version__ = "0.1.0"

log = logging.getLogger("exactod")

SCHEMA = "exacto.groups/v1"
SUFFIX = ":exacto"
DOCUMENT_BYTES_MAX = 4 * 1024 * 1024
#: Clocks of two machines may differ by so much.
CLOCK_SKEW_S = 300
#: Between two polls at least this.
POLL_GAP_S = 1.0
BACK_OFF_MAX_S = 30.0
#: What is not answered within the wait and this is given up.
ANSWER_GRACE_S = 30.0
QUEUE_MAX = 20_000
BATCH_MAX = 500
FLUSH_EVERY_S = 1.0
#: Texts in which marks of leaked calls are looked for, and arguments that are judged, at most.
JUDGED_CHARS_MAX = 1_000_000
VALIDATORS_MAX = 1_000
FAILED_MAX = 1_000

#: What stands where LiteLLM has taken content out.
REDACTED = "redacted-by-litellm"
#: What models write where a call should be, when an engine does not take it out.
LEAKS = (
    "<tool_call>",
    "</tool_call>",
    "<|tool_call",
    "<|tool_calls_section_begin|>",
    "<function=",
    "<|channel|>commentary to=",
    "[TOOL_CALLS]",
)


class Refused(Exception):
    """A document that is not adopted; ``code`` is one of docs/allowlist.md."""

    def __init__(self, code: str, why: str):
        super().__init__(f"{code}: {why}")
        self.code = code


class Settings:
    """The environment, read once."""

    def __init__(self, env=os.environ):
        def flag(name: str, default: bool) -> bool:
            value = env.get(name, "").strip().lower()
            return default if not value else value in ("1", "true", "yes", "on")

        def secret(name: str) -> str:
            path = env.get(f"{name}_FILE")
            if not path:
                return env.get(name, "").strip()
            try:
                with open(path, encoding="utf-8") as file:
                    return file.read().strip()
            except OSError as error:
                log.error("exactod: %s_FILE cannot be read: %s", name, error)
                return ""

        self.url = env.get("EXACTOD_URL", "").strip().rstrip("/")
        self.token = secret("EXACTOD_TOKEN")
        self.ingest_token = secret("EXACTOD_INGEST_TOKEN") or self.token
        self.wait_s = _seconds(env.get("EXACTOD_POLL", ""), 30.0)
        #: A JWK set of believed keys; without it the first that the daemon shows are believed.
        self.keys_file = env.get("EXACTOD_KEYS", "").strip()
        #: Unsigned lists are refused from the start on, not only once a key is known.
        self.signed = flag("EXACTOD_SIGNED", False)
        self.state = env.get("EXACTOD_STATE", "").strip() or _default_state(env)
        #: A list delivered with the gateway, for a first start without the daemon.
        self.bundled = env.get("EXACTOD_BUNDLED", "").strip()
        self.open_when_expired = env.get("EXACTOD_ON_EXPIRED", "keep").strip().lower() == "open"
        self.client = env.get("EXACTOD_CLIENT", "").strip() or f"litellm-{socket.gethostname()}"
        self.observe = flag("EXACTOD_OBSERVATIONS", True)
        self.ca_file = env.get("EXACTOD_CA_FILE", "").strip()


def _seconds(text: str, default: float) -> float:
    try:
        return min(max(float(text.strip().removesuffix("s")), 1.0), 300.0)
    except ValueError:
        return default


def _default_state(env) -> str:
    home = env.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(home, "exactod-litellm")


# ---------------------------------------------------------------------------------------------------------------------
# Signatures

_MEMBER = re.compile(r'([a-z0-9]+)="([^"]*)"(,|$)')


def read_signatures(text: str) -> list[tuple[str, bytes]]:
    """The Ed25519 signatures of a signature text, as key id and 64 bytes. Other algorithms are skipped."""
    found = []
    for part in re.split(r"[,\s]+(?=keyid=)", text.strip()):
        members = {}
        rest = part.strip()
        while rest:
            member = _MEMBER.match(rest)
            if not member:
                raise Refused("signature_form", f"not of the form: {part[:80]!r}")
            members.setdefault(member.group(1), member.group(2))
            rest = rest[member.end() :]
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", members.get("keyid", "")) or "alg" not in members:
            raise Refused("signature_form", f"not of the form: {part[:80]!r}")
        if members["alg"] != "ed25519":
            continue
        try:
            signature = base64.b64decode(members.get("sig", ""), validate=True)
        except (binascii.Error, ValueError) as error:
            raise Refused("signature_form", f"sig is no base64: {error}") from error
        if len(signature) != 64:
            raise Refused("signature_form", "sig has not 64 bytes")
        found.append((members["keyid"], signature))
    return found


def read_keys(text: str | bytes) -> dict[str, bytes]:
    """The Ed25519 public keys of a JWK set, by id."""
    keys = {}
    for key in json.loads(text).get("keys", []):
        if key.get("kty") == "OKP" and key.get("crv") == "Ed25519" and isinstance(key.get("kid"), str):
            x = key["x"]
            raw = base64.urlsafe_b64decode(x + "=" * (-len(x) % 4))
            if len(raw) == 32:
                keys[key["kid"]] = raw
    return keys


def verifies(key: bytes, signature: bytes, body: bytes) -> bool:
    """Whether a signature is over these bytes."""
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError:
        from nacl.exceptions import BadSignatureError  # PyNaCl comes with the LiteLLM proxy as well.
        from nacl.signing import VerifyKey

        try:
            VerifyKey(key).verify(body, signature)
            return True
        except BadSignatureError:
            return False
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, body)
        return True
    except InvalidSignature:
        return False


def check_signature(body: bytes, text: str | None, believed: dict[str, bytes], due: bool) -> list[str]:
    """Refuses what is not signed as it must be. Gives the ids of keys that sign it and are not known."""
    signatures = read_signatures(text) if text else []
    known = [(key_id, signature) for key_id, signature in signatures if key_id in believed]
    for key_id, signature in known:
        if not verifies(believed[key_id], signature, body):
            raise Refused("bad_signature", f"the signature of key {key_id} is not over these bytes")
    if due and not signatures:
        raise Refused("unsigned", "there is no signature")
    if due and not known:
        raise Refused("unknown_key", f"signed by {', '.join(k for k, _ in signatures)}, none of which is believed")
    return [key_id for key_id, _ in signatures if key_id not in believed] if known else []


# ---------------------------------------------------------------------------------------------------------------------
# Documents


class Index:
    """A document that was read: which deployments may serve which group."""

    def __init__(self, version: int, groups: dict[str, frozenset[str]], expires_at: float | None):
        self.version = version
        self.groups = groups
        self.expires_at = expires_at

    def expired(self, now: float) -> bool:
        """Whether its time is over, for certain."""
        return self.expires_at is not None and now >= self.expires_at + CLOCK_SKEW_S


def read_index(body: bytes) -> Index:
    """Reads a document; refuses what is not whole."""
    if len(body) > DOCUMENT_BYTES_MAX:
        raise Refused("too_large", f"{len(body)} bytes")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refused("not_a_list", f"no JSON: {error}") from error
    if not isinstance(document, dict):
        raise Refused("not_a_list", "no JSON object")
    if document.get("schema") != SCHEMA:
        raise Refused("schema", f"{document.get('schema')!r} is not {SCHEMA}")
    version, groups = document.get("version"), document.get("groups")
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise Refused("not_a_list", "`version` is no number from 1 on")
    if not isinstance(groups, dict):
        raise Refused("not_a_list", "`groups` is no object")
    if not groups:
        raise Refused("empty", "it has no group")
    read = {}
    for name, ids in groups.items():
        if not isinstance(ids, list) or not all(isinstance(one, str) and one for one in ids):
            raise Refused("not_a_list", f"group {name!r} is no list of names")
        if not ids:
            raise Refused("empty", f"group {name!r} names nobody")
        read[name] = frozenset(ids)
    return Index(version, read, _time(document.get("expires_at")))


def _time(text) -> float | None:
    if text is None:
        return None
    try:
        return datetime.fromisoformat(str(text).replace("Z", "+00:00")).timestamp()
    except ValueError as error:
        raise Refused("not_a_list", f"`expires_at` is no time: {text!r}") from error


class Held:
    """The document in use, in memory and on disk. Adopts what may take its place."""

    def __init__(self, settings: Settings):
        self.settings = settings
        name = hashlib.sha256(settings.url.encode()).hexdigest()[:12]
        self.file = os.path.join(settings.state, f"index-{name}.json")
        self.keys_path = os.path.join(settings.state, f"keys-{name}.json")
        self.index: Index | None = None
        self.body: bytes = b""
        self.etag: str | None = None
        self.believed: dict[str, bytes] = {}
        self.pinned = bool(settings.keys_file)
        self.told_expired: int | None = None
        #: Keys that are pinned and cannot be read: nothing can be verified, so nothing is adopted.
        self.broken = False

    def load(self) -> None:
        """Reads keys and the last good document, or the bundled one."""
        source = self.settings.keys_file or self.keys_path
        try:
            with open(source, "rb") as file:
                self.believed = read_keys(file.read())
        except OSError as error:
            self.broken = self.pinned
            if self.pinned:
                log.error("exactod: the believed keys cannot be read, nothing is adopted: %s", error)
        except (ValueError, KeyError, TypeError, AttributeError, binascii.Error) as error:
            self.broken = True
            log.error("exactod: %s is no JWK set, nothing is adopted: %s", source, error)
        self.broken = self.broken or (self.pinned and not self.believed)
        for path in (self.file, self.settings.bundled):
            if path and self._load_document(path):
                return

    def _load_document(self, path: str) -> bool:
        kept = self._read_kept(path)
        if kept is None:
            return False
        body, signature, etag = kept
        try:
            if self.broken:
                raise Refused("unknown_key", "no key is believed")
            check_signature(body, signature, self.believed, self.due())
            self.index, self.body, self.etag = read_index(body), body, etag
        except Refused as error:
            log.error("exactod: %s is not used: %s", path, error)
            return False
        log.info("exactod: version %s from %s", self.index.version, path)
        return True

    @staticmethod
    def _read_kept(path: str) -> tuple[bytes, str | None, str | None] | None:
        try:
            with open(path, "rb") as file:
                kept = json.loads(file.read(2 * DOCUMENT_BYTES_MAX))
            return kept["body"].encode(), kept.get("signature"), kept.get("etag")
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            log.error("exactod: %s cannot be read: %s", path, error)
            return None

    def due(self) -> bool:
        """Whether a signature is due: it is from the first believed key on."""
        return self.settings.signed or self.pinned or bool(self.believed)

    def believe(self, keys: dict[str, bytes]) -> None:
        """Keeps the keys that the daemon has shown."""
        self.believed = keys
        jwk = [
            {"kty": "OKP", "crv": "Ed25519", "kid": kid, "alg": "EdDSA", "use": "sig",
             "x": base64.urlsafe_b64encode(raw).rstrip(b"=").decode()}
            for kid, raw in keys.items()
        ]  # fmt: skip
        self._write(self.keys_path, {"keys": jwk})

    def adopt(self, body: bytes, signature: str | None, etag: str | None, now: float) -> list[str] | None:
        """Takes a document into use. Gives ids of unknown keys that sign it, or ``None`` when it is the one in use.

        Raises ``Refused``; then nothing changes.
        """
        if len(body) > DOCUMENT_BYTES_MAX:
            raise Refused("too_large", f"{len(body)} bytes")
        if self.broken:
            raise Refused("unknown_key", "no key is believed: see EXACTOD_KEYS")
        unknown = check_signature(body, signature, self.believed, self.due())
        index = read_index(body)
        if index.expired(now):
            raise Refused("expired", "its time is over")
        if self.index is not None and index.version < self.index.version:
            raise Refused("rolled_back", f"version {index.version}, and {self.index.version} is in use")
        if self.index is not None and body == self.body:
            self.etag = etag
            return None
        # The same version with other bytes is no rollback here: names and aliases are the configuration's.
        self.index, self.body, self.etag = index, body, etag
        self._keep(body, signature, etag, index.version)
        return unknown

    def _keep(self, body: bytes, signature: str | None, etag: str | None, version: int) -> None:
        # Another worker process may have come further.
        kept = self._read_kept(self.file)
        if kept is not None:
            try:
                check_signature(kept[0], kept[1], self.believed, self.due())
                if read_index(kept[0]).version > version:
                    return
            except Refused:
                pass
        self._write(self.file, {"body": body.decode(), "signature": signature, "etag": etag})

    @staticmethod
    def _write(path: str, document: dict) -> None:
        try:
            folder = os.path.dirname(path)
            os.makedirs(folder, mode=0o700, exist_ok=True)
            handle, beside = tempfile.mkstemp(dir=folder, prefix=".new-")
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    json.dump(document, file)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(beside, path)
            except BaseException:
                os.unlink(beside)
                raise
        except OSError as error:
            log.error("exactod: %s cannot be kept, it is in use in memory alone: %s", path, error)


# ---------------------------------------------------------------------------------------------------------------------
# Talking with the daemon


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the token elsewhere."""

    def redirect_request(self, *args, **kwargs):
        return None


class Daemon:
    """HTTP with the daemon, blocking: used from threads of this file alone."""

    def __init__(self, settings: Settings):
        self.settings = settings
        context = ssl.create_default_context(cafile=settings.ca_file or None)
        self.opener = urllib.request.build_opener(_NoRedirect, urllib.request.HTTPSHandler(context=context))

    def ask(self, path: str, *, token: str, timeout: float, headers=None, body: bytes | None = None):
        """Status, headers and body of an answer. 3xx, 4xx and 5xx are answers as well."""
        request = urllib.request.Request(self.settings.url + path, data=body, headers=headers or {})
        request.add_header("User-Agent", f"exactod-litellm/{__version__}")
        if token:
            request.add_unredirected_header("Authorization", f"Bearer {token}")
        try:
            with self.opener.open(request, timeout=timeout) as answer:
                return answer.status, answer.headers, answer.read(DOCUMENT_BYTES_MAX + 1)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read(DOCUMENT_BYTES_MAX + 1)


class Follower(threading.Thread):
    """Polls the index for as long as the process lives."""

    def __init__(self, settings: Settings, held: Held, daemon: Daemon):
        super().__init__(name="exactod-follower", daemon=True)
        self.settings, self.held, self.daemon_ = settings, held, daemon
        self.stopped = threading.Event()
        self.reported: set[tuple] = set()
        self.failures = 0

    def run(self) -> None:
        while not self.stopped.is_set():
            try:
                ok = self.poll()
            except Exception as error:  # A daemon that is away, a broken answer: go on with what there is.
                ok = False
                if self.failures == 0:
                    log.warning("exactod: no answer, going on with what is known: %s", error)
            self.failures = 0 if ok else self.failures + 1
            most = POLL_GAP_S if ok else min(BACK_OFF_MAX_S, POLL_GAP_S * 2 ** min(self.failures, 10))
            self.stopped.wait(POLL_GAP_S / 2 + random.uniform(0, most))

    def poll(self) -> bool:
        """One poll. ``True``: the daemon has answered well."""
        if not self.held.believed and not self.held.pinned:
            self.fetch_keys(set())
        headers = {"If-None-Match": self.held.etag} if self.held.etag else {}
        status, answered, body = self.daemon_.ask(
            f"/v1/export/litellm?wait={self.settings.wait_s:g}s",
            token=self.settings.token,
            timeout=self.settings.wait_s * 1.1 + ANSWER_GRACE_S,
            headers=headers,
        )
        if status == 304:
            return True
        if status != 200:
            if self.failures == 0:
                log.warning("exactod: status %s: %s", status, body[:500].decode("utf-8", "replace"))
            return False
        try:
            unknown = self.held.adopt(body, answered.get("Exacto-Signature"), answered.get("ETag"), time.time())
        except Refused as error:
            self.refused(body, error)
            return False
        if unknown is None:
            return True
        log.info("exactod: version %s is in use", self.held.index.version)
        self.ack(self.held.index.version, "adopted", "")
        if unknown and not self.held.pinned:
            self.fetch_keys(set(unknown))
        return True

    def fetch_keys(self, unknown: set[str]) -> None:
        """Believes the first keys that are shown, and later those that sign beside a believed one."""
        status, _, body = self.daemon_.ask("/.well-known/exacto-keys.json", token="", timeout=ANSWER_GRACE_S)
        if status != 200:
            return
        keys = read_keys(body)
        if unknown:
            # What an earlier id stands for does not change.
            keys = {**{kid: raw for kid, raw in keys.items() if kid in unknown}, **self.held.believed}
        if keys and keys != self.held.believed:
            self.held.believe(keys)
            log.info("exactod: keys believed from now on: %s", ", ".join(sorted(keys)))

    def refused(self, body: bytes, error: Refused) -> None:
        """Says so once for each document."""
        once = (error.code, hashlib.sha256(body).digest())
        if once in self.reported:
            return
        self.reported = {once} if len(self.reported) > 100 else self.reported | {once}
        log.error("exactod: a list is refused, going on with what is known: %s", error)
        try:
            version = json.loads(body).get("version")
        except Exception:
            version = None
        if isinstance(version, int) and not isinstance(version, bool) and version >= 0:
            self.ack(version, "rejected", str(error)[:500])

    def ack(self, version: int, status: str, detail: str) -> None:
        """Tells the daemon what is in use. Nothing depends on its arrival."""
        word = {"client": self.settings.client[:128], "version": version, "status": status, "detail": detail}
        try:
            self.daemon_.ask(
                "/v1/acks",
                token=self.settings.token,
                timeout=ANSWER_GRACE_S,
                headers={"Content-Type": "application/json"},
                body=json.dumps(word).encode(),
            )
        except Exception as error:
            log.debug("exactod: no ack: %s", error)


# ---------------------------------------------------------------------------------------------------------------------
# Verdicts about live answers


def _get(value, key, default=None):
    """A member of a dictionary or of an object."""
    if isinstance(value, dict):
        return value.get(key, default)
    return getattr(value, key, default)


def _redacted(value) -> bool:
    return isinstance(value, str) and REDACTED in value


class Judge:
    """Judges the tool calls of an answer against the tools that were offered."""

    def __init__(self):
        self.validators: dict[str, object] = {}

    def __call__(self, tools, response) -> tuple[int | None, int | None, bool | None, str | None]:
        """Tools offered, calls made, whether they are valid (``None``: not judged), and why not."""
        offered = {}
        for tool in tools if isinstance(tools, list) else []:
            function = _get(tool, "function") or {}
            if _get(function, "name"):
                offered[_get(function, "name")] = _get(function, "parameters")
        count = len(tools) if isinstance(tools, list) else 0
        messages = [_get(choice, "message") for choice in _get(response, "choices") or []]
        messages = [message for message in messages if message is not None]
        if not messages:
            return count, None, None, None
        calls = [call for message in messages for call in _get(message, "tool_calls") or []]
        if not offered:
            return count, len(calls), None, None
        if not calls:
            leaked = any(self.leaked(_get(message, "content")) for message in messages)
            return count, 0, False if leaked else None, "leaked_text" if leaked else None
        verdicts = [self.call(offered, call) for call in calls]
        wrong = next((why for valid, why in verdicts if valid is False), None)
        if wrong:
            return count, len(calls), False, wrong
        judged = all(valid is True for valid, _ in verdicts)
        return count, len(calls), True if judged else None, None

    @staticmethod
    def leaked(content) -> bool:
        if not isinstance(content, str) or _redacted(content):
            return False
        text = content[:JUDGED_CHARS_MAX]
        return any(mark in text for mark in LEAKS)

    def call(self, offered: dict, call) -> tuple[bool | None, str | None]:
        function = _get(call, "function") or {}
        name, arguments = _get(function, "name"), _get(function, "arguments")
        if _redacted(name) or _redacted(arguments) or arguments is None:
            return None, None
        if name not in offered:
            return False, "unknown_tool"
        schema = offered[name]
        if not isinstance(schema, dict) or not isinstance(arguments, str) or len(arguments) > JUDGED_CHARS_MAX:
            return None, None
        try:
            value = json.loads(arguments or "{}")
        except (ValueError, RecursionError):
            return False, "json"
        if not isinstance(value, dict):
            return False, "schema"
        validator = self.validator(schema)
        if validator is None:
            return None, None
        try:
            return (True, None) if validator.is_valid(value) else (False, "schema")
        except Exception:  # A schema that refers to elsewhere, or that nobody can evaluate: not the endpoint's doing.
            return None, None

    def validator(self, schema: dict):
        """The validator of a schema; ``None`` where there is none, or the schema itself is wrong."""
        key = hashlib.sha256(json.dumps(schema, sort_keys=True, default=str).encode()).hexdigest()
        if key not in self.validators:
            if len(self.validators) >= VALIDATORS_MAX:
                self.validators.clear()
            self.validators[key] = self._compiled(schema)
        return self.validators[key]

    @staticmethod
    def _compiled(schema: dict):
        try:
            import jsonschema
            from referencing import Registry
        except ImportError:
            return None
        if '"$ref": "http' in json.dumps(schema, default=str):
            return None
        try:
            kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
            kind.check_schema(schema)
            # An empty registry: nothing is ever fetched.
            return kind(schema, registry=Registry())
        except Exception:
            return None


class Observer:
    """Collects verdicts and sends them from a thread of its own. What cannot be sent in time is dropped, and counted."""

    def __init__(self, settings: Settings, daemon: Daemon):
        self.settings, self.daemon_ = settings, daemon
        self.waiting: collections.deque = collections.deque(maxlen=QUEUE_MAX)
        self.dropped = 0
        self.stopped = threading.Event()
        self.thread: threading.Thread | None = None
        self.failures = 0

    def start(self) -> None:
        self.thread = threading.Thread(target=self.run, name="exactod-observer", daemon=True)
        self.thread.start()

    def add(self, record: dict) -> None:
        if len(self.waiting) == QUEUE_MAX:
            self.dropped += 1
        self.waiting.append(record)

    def run(self) -> None:
        while not self.stopped.wait(FLUSH_EVERY_S):
            pause = self.flush()
            if pause:
                self.stopped.wait(pause)

    def flush(self) -> float:
        """Sends what waits. Gives how long to wait before the next try; 0: all is sent."""
        while self.waiting:
            batch = []
            while self.waiting and len(batch) < BATCH_MAX:
                batch.append(self.waiting.popleft())
            pause = self.send(batch)
            if pause:
                # They are told again under the same ids, which the daemon takes once.
                self.waiting.extendleft(reversed(batch[: QUEUE_MAX - len(self.waiting)]))
                return pause
        return 0.0

    def send(self, batch: list[dict]) -> float:
        lines = "".join(json.dumps(record, separators=(",", ":")) + "\n" for record in batch)
        headers = {"Content-Type": "application/x-ndjson", "Content-Encoding": "gzip"}
        try:
            status, answered, body = self.daemon_.ask(
                "/v1/observations",
                token=self.settings.ingest_token,
                timeout=ANSWER_GRACE_S,
                headers=headers,
                body=gzip.compress(lines.encode(), compresslevel=1),
            )
        except Exception as error:
            return self.failed(f"{error}", None)
        if status in (200, 202):
            self.failures = 0
            return 0.0
        if status == 429 or status >= 500:
            return self.failed(f"status {status}", answered.get("Retry-After"))
        self.dropped += len(batch)
        if self.failures == 0:
            log.error("exactod: verdicts are not taken, status %s: %s", status, body[:500].decode("utf-8", "replace"))
        self.failures += 1
        return 0.0

    def failed(self, why: str, retry_after: str | None) -> float:
        if self.failures == 0:
            log.warning("exactod: verdicts wait: %s", why)
        self.failures += 1
        try:
            asked = float(retry_after or 0)
        except ValueError:
            asked = 0.0
        return min(max(asked, 2.0 ** min(self.failures, 5)), BACK_OFF_MAX_S) + random.uniform(0, 1)


def _number(value, scale: float = 1.0) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value or value < 0:
        return None
    return value * scale


def _count(value) -> int | None:
    number = _number(value)
    return None if number is None else int(number)


def record_of(payload: dict, judge: Judge) -> dict | None:
    """The native record of a StandardLoggingPayload; ``None``: it is about no deployment of a group."""
    provider, group = payload.get("model_id"), payload.get("model_group")
    if not provider or not group:
        return None
    start, end = _number(payload.get("startTime")), _number(payload.get("endTime"))
    first = _number(payload.get("completionStartTime"))
    is_stream = payload.get("stream")
    ok = payload.get("status") == "success"
    response = payload.get("response")
    parameters = payload.get("model_parameters")
    tools = parameters.get("tools") if isinstance(parameters, dict) else None
    offered, calls, valid, why = judge(tools, response if isinstance(response, dict) else None)
    choices = response.get("choices") if isinstance(response, dict) else None
    finish = _get(choices[0], "finish_reason") if isinstance(choices, list) and choices else None
    error = payload.get("error_information") or {}
    status = str(error.get("error_code") or "")
    latency = _number(payload.get("response_time"), 1000.0)
    ttft = None
    if is_stream and ok and start is not None and first is not None and first >= start:
        ttft = (first - start) * 1000.0
    if ttft is not None and end is not None and first is not None and first >= end:
        ttft = None
    key = f"{payload.get('litellm_call_id')}|{provider}|{payload.get('startTime')}"
    return {
        "v": 1,
        "id": hashlib.sha256(key.encode()).hexdigest()[:32],
        "ts": _rfc3339(end if end is not None else time.time()),
        "model": str(group).removesuffix(SUFFIX),
        "provider": str(provider),
        "ok": ok,
        "error_class": None if ok else (error.get("error_class") or "unknown"),
        "http_status": 200 if ok else (int(status) if re.fullmatch(r"[1-5]\d\d", status) else None),
        "tools_offered": offered,
        "tool_calls": calls if ok else None,
        "tool_call_valid": valid if ok else None,
        "invalid_reason": why if ok else None,
        "finish_reason": finish if isinstance(finish, str) else None,
        "ttft_ms": ttft,
        "latency_ms": latency,
        "input_tokens": _count(payload.get("prompt_tokens")) if ok else None,
        "output_tokens": _count(payload.get("completion_tokens")) if ok else None,
        "cost_usd": _number(payload.get("response_cost")) if ok else None,
        "attempt": None,
        "stream": is_stream if isinstance(is_stream, bool) else None,
    }


def record_of_failure(request, exception, now: float) -> dict | None:
    """The native record of a failed attempt; ``None``: it is about no deployment of a group."""
    metadata = request.get("metadata") or request.get("litellm_metadata") or {}
    provider = _get(_get(metadata, "model_info") or request.get("model_info") or {}, "id")
    group = _get(metadata, "model_group")
    if not provider or not group:
        return None
    status = getattr(exception, "status_code", None)
    tools = request.get("tools")
    stream = request.get("stream")
    # Two attempts of one call at one deployment are two failures.
    key = f"{request.get('litellm_call_id')}|{provider}|{now}|{id(exception)}"
    return {
        "v": 1,
        "id": hashlib.sha256(key.encode()).hexdigest()[:32],
        "ts": _rfc3339(now),
        "model": str(group).removesuffix(SUFFIX),
        "provider": str(provider),
        "ok": False,
        "error_class": type(exception).__name__,
        "http_status": status if isinstance(status, int) and 100 <= status < 600 else None,
        "tools_offered": len(tools) if isinstance(tools, list) else 0,
        "tool_calls": None,
        "tool_call_valid": None,
        "invalid_reason": None,
        "finish_reason": None,
        "ttft_ms": None,
        "latency_ms": None,
        "input_tokens": None,
        "output_tokens": None,
        "cost_usd": None,
        "attempt": None,
        "stream": stream if isinstance(stream, bool) else None,
    }


def _rfc3339(at: float) -> str:
    return datetime.fromtimestamp(at, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


# ---------------------------------------------------------------------------------------------------------------------
# The callback


class Exactod(CustomLogger):
    """What LiteLLM calls."""

    def __init__(self, settings: Settings | None = None):
        super().__init__()
        self.settings = settings or Settings()
        self.held = Held(self.settings)
        self.judge = Judge()
        self.observer: Observer | None = None
        self.follower: Follower | None = None
        self.lock = threading.Lock()
        self.pid = 0
        self.told: set[str] = set()
        #: Failures that were told last, by call and deployment: LiteLLM may log them as well.
        self.failed: collections.deque = collections.deque(maxlen=FAILED_MAX)
        try:
            self.held.load()
        except Exception:
            log.exception("exactod: what was kept cannot be read")
        if not self.settings.url:
            log.error("exactod: EXACTOD_URL is not set: every deployment stays, nothing is reported")

    def start(self) -> None:
        """Begins to follow the daemon; once in each process, for threads do not survive a fork."""
        if self.pid == os.getpid() or not self.settings.url:
            return
        with self.lock:
            if self.pid == os.getpid():
                return
            daemon = Daemon(self.settings)
            self.follower = Follower(self.settings, self.held, daemon)
            self.follower.start()
            if self.settings.observe:
                self.observer = Observer(self.settings, daemon)
                self.observer.start()
            self.pid = os.getpid()

    def stop(self) -> None:
        """Ends the threads, for tests."""
        for thread in (self.follower, self.observer):
            if thread is not None:
                thread.stopped.set()

    # LiteLLM calls this for every request, after its own cooldowns. An exception here would fail the request.
    async def async_filter_deployments(
        self, model, healthy_deployments, messages=None, request_kwargs=None, parent_otel_span=None
    ):
        try:
            self.start()
            return self.filtered(model, healthy_deployments, time.time())
        except Exception:
            log.exception("exactod: every deployment stays")
            return healthy_deployments

    def filtered(self, model: str, deployments: list, now: float) -> list:
        """The listed ones; all of them where nothing is known, or nobody would be left."""
        index = self.held.index
        if index is None or not isinstance(deployments, list):
            return deployments
        if index.expired(now):
            if self.held.told_expired != index.version:
                self.held.told_expired = index.version
                what = "every deployment stays" if self.settings.open_when_expired else "it stays in use"
                log.error("exactod: version %s is past its time; %s", index.version, what)
            if self.settings.open_when_expired:
                return deployments
        listed = index.groups.get(model)
        if listed is None:
            return deployments
        kept = [one for one in deployments if _get(_get(one, "model_info") or {}, "id") in listed]
        if kept:
            return kept
        if model not in self.told:
            self.told.add(model)
            log.warning("exactod: no deployment of %s is listed, so all stay; is model_info.id the slug litellm?", model)
        return deployments

    async def async_log_success_event(self, kwargs, response_obj, start_time, end_time):
        self.observe(kwargs)

    async def async_log_failure_event(self, kwargs, response_obj, start_time, end_time):
        self.observe(kwargs)

    # Once for each failed attempt, those included that a retry or a fallback hides from the log.
    async def async_post_call_failure_deployment_hook(self, request_data, exception, call_type, fallback_depth=None):
        try:
            self.start()
            record = record_of_failure(request_data, exception, time.time())
            if self.observer is None or record is None:
                return
            self.failed.append((str(request_data.get("litellm_call_id")), record["provider"]))
            self.observer.add(record)
        except Exception:
            log.exception("exactod: one failure is not told")

    def observe(self, kwargs) -> None:
        """Judges one answer. LiteLLM's payload holds the whole answer of a stream as well."""
        try:
            self.start()
            payload = kwargs.get("standard_logging_object") if isinstance(kwargs, dict) else None
            if self.observer is None or not isinstance(payload, dict):
                return
            record = record_of(payload, self.judge)
            if record is None:
                return
            if not record["ok"] and (str(payload.get("litellm_call_id")), record["provider"]) in self.failed:
                return  # The hook has told it.
            self.observer.add(record)
        except Exception:
            log.exception("exactod: one answer is not judged")


handler = Exactod()
handler.start()
