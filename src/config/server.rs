//! `[server]`, `[store]` and `[suites]`.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use crate::domain::canonical::sha256_hex;

use super::mask::{holds_password, is_sha256, looks_secret};
use super::reader::{Span, View};
use super::secrets;
use super::tokens::{Role, Token};
use super::{Retention, Server, StoreConfig, StoreUrl};

const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
const STORE_URL: &str = "sqlite://data/exactod.db";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const KEEP_TRANSCRIPTS_DAYS: u32 = 30;
const KEEP_ROWS_DAYS: u32 = 400;

/// Reads `[server]`.
pub(super) fn read(root: &View<'_>) -> Server {
    let view = root.child("server");
    let server = Server {
        listen: view.text("listen").and_then(|(text, span)| address(&view, text, &span)).unwrap_or(LISTEN),
        agent_listen: view.text("agent_listen").and_then(|(text, span)| address(&view, text, &span)),
        public_read: view.flag("public_read").unwrap_or(false),
        drain_timeout: view.duration("drain_timeout").unwrap_or(DRAIN_TIMEOUT),
        tokens: tokens(&view),
    };
    check_agent(&view, &server);
    if !server.listen.ip().is_loopback() && view.children("token").is_empty() {
        view.reader.problem(
            &view.span_of("listen"),
            format!("without a token the server listens on loopback only, not on {}", server.listen),
            "make one with `exactod token new --role read`, or listen on 127.0.0.1",
        );
    }
    server
}

/// The agent-check tells whoever asks which endpoints are listed.
fn check_agent(view: &View<'_>, server: &Server) {
    let Some(agent) = server.agent_listen else { return };
    let span = view.span_of("agent_listen");
    if !agent.ip().is_loopback() && !server.public_read {
        view.reader.problem(
            &span,
            format!("the agent-check knows no tokens, so it listens on loopback only, not on {agent}"),
            "with public_read = true everybody may read the lists, also there",
        );
    }
    if agent == server.listen && agent.port() != 0 {
        view.reader.problem(&span, "`agent_listen` is the address of `listen`", "give it a port of its own");
    }
}

fn address(view: &View<'_>, text: &str, span: &Span) -> Option<SocketAddr> {
    let text = text.trim();
    if let Some(port) = text.strip_prefix("localhost:").and_then(|p| p.parse().ok()) {
        return Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }
    let address = text.parse().ok();
    if address.is_none() {
        let hint = match text.strip_prefix(':').or(Some(text)).and_then(|p| p.parse::<u16>().ok()) {
            Some(port) => format!("\"127.0.0.1:{port}\" for this machine only, \"0.0.0.0:{port}\" for all"),
            None => "an IP address and a port, such as \"127.0.0.1:8080\" or \"[::1]:8080\"".to_owned(),
        };
        view.reader.problem(span, format!("`{text}` is not an address to listen on"), hint);
    }
    address
}

fn tokens(server: &View<'_>) -> Vec<Token> {
    let r = server.reader;
    let mut names: BTreeMap<&str, usize> = BTreeMap::new();
    let mut hashes: BTreeMap<[u8; 32], usize> = BTreeMap::new();
    let mut out = Vec::new();
    for view in server.children("token") {
        let name = view.text("name");
        if let Some((name, span)) = &name
            && let Some(line) = names.insert(name, r.line(span))
        {
            r.problem(span, format!("duplicate token name `{name}`"), format!("the first stands in line {line}"));
        }
        let sha256 = view.text("sha256").and_then(|(text, span)| token_hash(&view, text, &span));
        if let Some(hash) = sha256 {
            let span = view.span_of("sha256");
            if let Some(line) = hashes.insert(hash, r.line(&span)) {
                r.problem(&span, "duplicate token", format!("the same hash stands in line {line}; make one for each"));
            }
        }
        let role = view.text("role").and_then(|(role, _)| role.parse::<Role>().ok());
        if let (Some((name, _)), Some(role), Some(sha256)) = (name, role, sha256) {
            out.push(Token { name: name.to_owned(), role, sha256 });
        }
    }
    out
}

fn token_hash(view: &View<'_>, text: &str, span: &Span) -> Option<[u8; 32]> {
    let (message, hint) = if looks_secret(text) {
        (
            "`sha256` holds a token in the clear: its SHA-256 is due".to_owned(),
            "make a new one with `exactod token new` and put the sha256 that it prints here",
        )
    } else if !is_sha256(text) {
        (
            format!("`sha256` must have 64 hexadecimal digits, this has {} characters", text.chars().count()),
            "`exactod token new --role ROLE` prints it",
        )
    } else if text.eq_ignore_ascii_case(&sha256_hex(b"")) {
        ("this is the SHA-256 of nothing".to_owned(), "`exactod token new --role ROLE` makes a token")
    } else {
        let mut hash = [0; 32];
        for (byte, digits) in hash.iter_mut().zip(text.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(digits).unwrap_or("");
            *byte = u8::from_str_radix(digits, 16).unwrap_or(0);
        }
        return Some(hash);
    };
    view.reader.problem(span, message, hint);
    None
}

/// Reads `[store]`.
pub(super) fn read_store(root: &View<'_>) -> StoreConfig {
    let view = root.child("store");
    let keep = view.child("retention");
    StoreConfig {
        url: store_url(&view).unwrap_or_else(|| StoreUrl::new(sqlite_url(&view, STORE_URL).unwrap_or_default())),
        retention: Retention {
            transcripts: keep.duration("transcripts").unwrap_or(DAY * KEEP_TRANSCRIPTS_DAYS),
            attempts: keep.duration("attempts").unwrap_or(DAY * KEEP_ROWS_DAYS),
            observations: keep.duration("observations").unwrap_or(DAY * KEEP_ROWS_DAYS),
        },
    }
}

fn store_url(view: &View<'_>) -> Option<StoreUrl> {
    use secrecy::ExposeSecret as _;
    let value = view.value("url")?;
    let span = value.span();
    let text = match value.get_ref().as_table() {
        Some(table) => secrets::resolve(view.reader, "url", table, &span)?.expose_secret().to_owned(),
        None => value.get_ref().as_str()?.to_owned(),
    };
    let problem = |message: &str, hint: &str| {
        view.reader.problem(&span, message, hint);
        None
    };
    const FORMS: &str = "sqlite://data/exactod.db, sqlite:///var/lib/exactod/exactod.db or postgres://host/database";
    if value.get_ref().is_str() && holds_password(&text) {
        return problem("`url` holds a password in the clear", CLEAR_URL);
    }
    match text.split_once(':').map(|(scheme, _)| scheme) {
        Some("sqlite") if text.contains(":memory:") || text.contains("mode=memory") => {
            problem("a store in memory would forget every decision", "name a file: sqlite://data/exactod.db")
        }
        Some("sqlite") if text.contains('?') => {
            problem("a SQLite URL takes no parameters", "write the path alone: sqlite://data/exactod.db")
        }
        Some("sqlite") => match sqlite_url(view, &text) {
            Some(url) => Some(StoreUrl::new(url)),
            None => problem("the store's URL names no file", FORMS),
        },
        // The host may be absent: `postgres:///database?host=/run/postgresql` is a Unix socket.
        Some("postgres" | "postgresql") => match url::Url::parse(&text) {
            Ok(url) if url.as_str().contains("://") => Some(StoreUrl::new(text)),
            _ => problem("this is not a PostgreSQL URL", FORMS),
        },
        _ => problem("the store must be SQLite or PostgreSQL", FORMS),
    }
}

const CLEAR_URL: &str = "put the whole URL into the environment and write url = { env = \"DATABASE_URL\" }";

/// `sqlite://` and the path, relative to the config's folder. The path is plain: nothing in it is percent-encoded.
fn sqlite_url(view: &View<'_>, url: &str) -> Option<String> {
    let path = url.strip_prefix("sqlite://").or_else(|| url.strip_prefix("sqlite:"))?;
    if path.is_empty() || path.ends_with('/') {
        return None;
    }
    Some(format!("sqlite://{}", view.reader.resolve(path).display()))
}

/// Reads `[signing]`: the private keys, as they stand in their source. Whoever signs reads them.
pub(super) fn read_signing(root: &View<'_>) -> Option<SecretString> {
    let view = root.child("signing");
    let value = view.value("keys")?;
    let table = value.get_ref().as_table()?;
    let keys = secrets::resolve(view.reader, "keys", table, &value.span())?;
    if let Some(file) = table.get("file").and_then(|file| file.get_ref().as_str())
        && !view.reader.env.is_private(&view.reader.resolve(file))
    {
        let message = format!("others than its owner may read the key file `{file}`");
        view.reader.problem(&value.span(), message, format!("chmod 600 {file}; if anybody could have, make new keys"));
    }
    Some(keys)
}

/// Reads `[suites]`.
pub(super) fn read_suite_paths(root: &View<'_>) -> Vec<PathBuf> {
    let view = root.child("suites");
    let paths = view.texts("paths").unwrap_or_default();
    paths.into_iter().map(|(path, _)| view.reader.resolve(path)).collect()
}
