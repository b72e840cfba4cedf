//! Who may do what.
//!
//! With tokens configured: `Authorization: Bearer <token>`, or for reading also HTTP Basic with the token as password
//! (browsers). Basic is not taken for commands: a browser adds it by itself, also to requests that other sites cause.
//!
//! Without tokens every route is open. The server then listens on loopback only, so what is left to fear is the
//! operator's own browser: pages of other sites that reach it by a name that resolves to loopback (refused by `Host`)
//! or by a plain form (refused by `Origin`).

use std::net::IpAddr;

use http::header::{AUTHORIZATION, HOST, HeaderValue, ORIGIN, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};

use super::problem::Problem;
use super::state::{ApiSetup, ApiState};
use crate::config::{Role, TokenSet};
use crate::domain::base64;

/// What a request must show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing: probes and texts that hold no data.
    Nothing,
    /// The read role, unless `public_read` opens allowlists.
    Allowlist,
    /// As [`Need::Allowlist`], asked by Envoy, which names its cluster in `Host`.
    Discovery,
    /// The read role.
    Read,
    /// The read role, asked for in a browser's own dialogue.
    ReadInBrowser,
    /// The ingest role.
    Ingest,
    /// The admin role.
    Admin,
}

impl Need {
    /// The role that suffices; `None`: none is needed.
    pub fn role(self) -> Option<Role> {
        match self {
            Need::Nothing => None,
            Need::Allowlist | Need::Discovery | Need::Read | Need::ReadInBrowser => Some(Role::Read),
            Need::Ingest => Some(Role::Ingest),
            Need::Admin => Some(Role::Admin),
        }
    }

    fn challenge(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Need::ReadInBrowser => r#"Basic realm="exactod: any user name, token as password", charset="UTF-8""#,
            _ => r#"Bearer realm="exactod""#,
        })
    }
}

/// Lets a request pass or says why not.
pub fn check(state: &ApiState, request: &Parts, need: Need) -> Result<(), Problem> {
    let setup = state.setup.load();
    if setup.server.tokens.is_empty() {
        return check_open(state.loopback_only, request, need);
    }
    let Some(needed) = need.role() else { return Ok(()) };
    if matches!(need, Need::Allowlist | Need::Discovery) && setup.server.public_read {
        return Ok(());
    }
    let Some(presented) = presented(&request.headers, &request.method) else {
        return Err(unauthorized("this needs a token", need).hint(format!(
            "send `Authorization: Bearer <token>` with a token of role {needed} or admin; `exactod token new --role \
             {needed}` makes one"
        )));
    };
    match TokenSet::new(setup.server.tokens.clone()).authenticate(&presented) {
        None => Err(unauthorized("the token is not known here", need)
            .hint("check that it is whole, and that its hash stands in the daemon's config (`[[server.token]]`)")),
        Some(token) if token.role.allows(needed) => Ok(()),
        Some(token) => Err(Problem::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            "role does not suffice",
            format!("this needs the role {needed}; token {:?} has the role {}", token.name, token.role),
        )
        .hint(match needed {
            Role::Admin => "use a token of role admin".to_owned(),
            needed => format!("use a token of role {needed} or admin"),
        })),
    }
}

/// Name of the token that a request shows, for the log of who did what.
pub fn caller(setup: &ApiSetup, request: &Parts) -> Option<String> {
    let presented = presented(&request.headers, &request.method)?;
    TokenSet::new(setup.server.tokens.clone()).authenticate(&presented).map(|token| token.name.clone())
}

fn unauthorized(detail: &str, need: Need) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", "token needed", detail)
        .header(WWW_AUTHENTICATE, need.challenge())
}

/// The token of a request.
fn presented(headers: &HeaderMap, method: &Method) -> Option<String> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, credentials) = value.split_once(' ')?;
    let credentials = credentials.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(credentials.to_owned());
    }
    let is_reading = *method == Method::GET || *method == Method::HEAD;
    if !(scheme.eq_ignore_ascii_case("basic") && is_reading) {
        return None;
    }
    let pair = String::from_utf8(base64::decode(credentials)?).ok()?;
    pair.split_once(':').map(|(_, password)| password.to_owned())
}

/// Without tokens. A listener that the network reaches serves nothing then: whoever sends `Host: localhost` would pass.
fn check_open(loopback_only: bool, request: &Parts, need: Need) -> Result<(), Problem> {
    if !loopback_only {
        return Err(foreign("this server is open to the network and has no tokens, so it serves nothing".to_owned()));
    }
    if need == Need::Discovery {
        // Any name may stand in `Host` here. A browser names the page behind every POST, Envoy never does.
        return match request.headers.contains_key(ORIGIN) {
            true => Err(foreign("the request comes from a page".to_owned())),
            false => Ok(()),
        };
    }
    let host = request.headers.get(HOST);
    for authority in [request.uri.authority().map(|a| a.as_str()), host.map(|h| h.to_str().unwrap_or(""))] {
        if authority.is_some_and(|authority| !is_loopback(authority)) {
            return Err(foreign(format!(
                "this server answers to loopback names only, not to {:?}",
                authority.unwrap_or("")
            )));
        }
    }
    let reads = [Method::GET, Method::HEAD, Method::OPTIONS].contains(&request.method);
    if let (false, Some(origin)) = (reads, request.headers.get(ORIGIN)) {
        let own = host.and_then(|h| h.to_str().ok()).map(|host| format!("http://{host}"));
        if origin.to_str().ok().map(str::to_owned) != own {
            return Err(foreign("the request comes from a page of another site".to_owned()));
        }
    }
    Ok(())
}

fn foreign(detail: String) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "foreign-site", "not from this machine", detail).hint(
        "without configured tokens only this machine is served: use http://127.0.0.1 or http://localhost, or configure \
         `[[server.token]]`",
    )
}

/// Whether `host[:port]` names this machine by itself.
fn is_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(""),
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    };
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_loopback() {
        for yes in ["localhost", "LOCALHOST:8080", "127.0.0.1", "127.0.0.1:1", "127.8.8.8:80", "[::1]:8080", "[::1]"] {
            assert!(is_loopback(yes), "{yes}");
        }
        for no in ["", "evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "10.0.0.1:8080", "[::2]"]
        {
            assert!(!is_loopback(no), "{no}");
        }
    }
}
