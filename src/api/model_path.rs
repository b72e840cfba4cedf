//! The one parser of everything below `/v1/models/`.
//!
//! Model and endpoint ids may hold slashes and colons, plain or percent-encoded, so the resource is found from the end
//! of the path, and what stands before it is the model.

use crate::domain::Verb;

/// What stands below a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resource {
    /// `/allowlist`
    Allowlist,
    /// `/allowlist.sig`
    Signature,
    /// `/allowlist/watch`
    Watch,
    /// `/decisions`
    Decisions,
    /// `/scorecards`
    Scorecards,
    /// `/endpoints/{id}`
    Endpoint {
        /// The endpoint, as written by the client, decoded.
        endpoint: String,
    },
    /// `/endpoints/{id}/series`
    Series {
        /// The endpoint, as written by the client, decoded.
        endpoint: String,
    },
    /// `/endpoints/{id}/live`, or `/live`
    Live {
        /// The endpoint, as written by the client, decoded.
        endpoint: Option<String>,
    },
    /// `/endpoints/{id}/{verb}`, or `/ack`
    Order {
        /// What to do.
        verb: Verb,
        /// The endpoint, as written by the client, decoded.
        endpoint: Option<String>,
    },
}

/// A model's resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The model's name (id or alias) as written by the client, decoded.
    pub model: String,
    /// The resource.
    pub resource: Resource,
}

/// Why a path names nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathError {
    /// Bad percent-encoding.
    Encoding,
    /// No resource that is known here.
    Unknown,
}

const ENDPOINTS: &str = "/endpoints/";

/// Reads the part of a path after `/v1/models/`. `is_model` decides where the model ends when `/endpoints/` stands
/// there more than once.
pub fn parse(rest: &str, is_model: impl Fn(&str) -> bool) -> Result<Target, PathError> {
    let simple = [
        ("/allowlist", Resource::Allowlist),
        ("/allowlist.sig", Resource::Signature),
        ("/allowlist/watch", Resource::Watch),
        ("/decisions", Resource::Decisions),
        ("/scorecards", Resource::Scorecards),
        ("/ack", Resource::Order { verb: Verb::Ack, endpoint: None }),
    ];
    for (suffix, resource) in simple {
        if let Some(model) = rest.strip_suffix(suffix).filter(|model| !model.is_empty()) {
            return Ok(Target { model: decode(model)?, resource });
        }
    }
    let (before, last) = rest.rsplit_once('/').ok_or(PathError::Unknown)?;
    let verb = Verb::ALL.into_iter().find(|verb| verb.name() == last && verb.takes_endpoint());
    // What is neither a verb nor `series` nor `live` is the end of the endpoint itself.
    let is_itself = verb.is_none() && !["series", "live"].contains(&last);
    let of = |endpoint: String| match verb {
        Some(verb) => Resource::Order { verb, endpoint: Some(endpoint) },
        None if is_itself => Resource::Endpoint { endpoint },
        None if last == "live" => Resource::Live { endpoint: Some(endpoint) },
        None => Resource::Series { endpoint },
    };
    if last == "live" {
        let model = decode(before)?;
        let is_own = is_model(&model) || !before.contains(ENDPOINTS);
        if is_own && !model.is_empty() {
            return Ok(Target { model, resource: Resource::Live { endpoint: None } });
        }
    }
    let rest = if is_itself { rest } else { before };
    let mut first = None;
    for (at, _) in rest.match_indices(ENDPOINTS) {
        let (model, endpoint) = (decode(&rest[..at])?, decode(&rest[at + ENDPOINTS.len()..])?);
        if model.is_empty() || endpoint.is_empty() || (is_itself && endpoint.ends_with('/')) {
            continue;
        }
        let known = is_model(&model);
        let target = Target { model, resource: of(endpoint) };
        if known {
            return Ok(target);
        }
        first = first.or(Some(target));
    }
    first.ok_or(PathError::Unknown)
}

/// Percent-decoding (RFC 3986, 2.1); `+` stays a plus.
pub fn decode(text: &str) -> Result<String, PathError> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|b| char::from(b).to_digit(16)).ok_or(PathError::Encoding);
        let value = digit()? << 4 | digit()?;
        out.push(u8::try_from(value).map_err(|_| PathError::Encoding)?);
    }
    String::from_utf8(out).map_err(|_| PathError::Encoding)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn known(model: &str) -> bool {
        ["lab/m:free", "kimi", "odd/endpoints/m", "x/allowlist"].contains(&model)
    }

    fn series(model: &str, endpoint: &str) -> Result<Target, PathError> {
        Ok(Target { model: model.to_owned(), resource: Resource::Series { endpoint: endpoint.to_owned() } })
    }

    #[test]
    fn ids_stand_plain_or_encoded() {
        let list = |model: &str| Ok(Target { model: model.to_owned(), resource: Resource::Allowlist });
        assert_eq!(parse("lab/m:free/allowlist", known), list("lab/m:free"));
        assert_eq!(parse("lab%2Fm%3Afree/allowlist", known), list("lab/m:free"));
        assert_eq!(parse("lab%2fm:free/allowlist", known), list("lab/m:free"));
        assert_eq!(parse("a+b/allowlist", known), list("a+b"));
        assert_eq!(parse("x/allowlist/allowlist", known), list("x/allowlist"));
        assert_eq!(parse("never-heard-of/allowlist", known), list("never-heard-of"));
        let other = |model: &str, resource| Ok(Target { model: model.to_owned(), resource });
        assert_eq!(parse("lab/m:free/allowlist.sig", known), other("lab/m:free", Resource::Signature));
        assert_eq!(parse("lab%2Fm%3Afree/allowlist/watch", known), other("lab/m:free", Resource::Watch));
    }

    #[test]
    fn the_model_decides_where_the_endpoint_begins() {
        assert_eq!(parse("lab/m:free/endpoints/groq/fp8/series", known), series("lab/m:free", "groq/fp8"));
        assert_eq!(parse("lab%2Fm%3Afree/endpoints/groq%2Ffp8/series", known), series("lab/m:free", "groq/fp8"));
        assert_eq!(parse("odd/endpoints/m/endpoints/e/series", known), series("odd/endpoints/m", "e"));
        assert_eq!(parse("kimi/endpoints/a/endpoints/b/series", known), series("kimi", "a/endpoints/b"));
        assert_eq!(parse("who/endpoints/e/series", known), series("who", "e"));
    }

    #[test]
    fn an_endpoint_stands_by_itself() {
        let endpoint = |model: &str, endpoint: &str| {
            Ok(Target { model: model.to_owned(), resource: Resource::Endpoint { endpoint: endpoint.to_owned() } })
        };
        assert_eq!(parse("lab/m:free/endpoints/groq/fp8", known), endpoint("lab/m:free", "groq/fp8"));
        assert_eq!(parse("lab%2Fm%3Afree/endpoints/groq%2Ffp8", known), endpoint("lab/m:free", "groq/fp8"));
        assert_eq!(parse("odd/endpoints/m/endpoints/e", known), endpoint("odd/endpoints/m", "e"));
        assert_eq!(parse("kimi/endpoints/", known), Err(PathError::Unknown));
        assert_eq!(parse("kimi/endpoints/groq/", known), Err(PathError::Unknown));
    }

    #[test]
    fn live_traffic_stands_below_the_model_and_below_its_endpoints() {
        let live = |model: &str, endpoint: Option<&str>| {
            let endpoint = endpoint.map(str::to_owned);
            Ok(Target { model: model.to_owned(), resource: Resource::Live { endpoint } })
        };
        assert_eq!(parse("lab/m:free/live", known), live("lab/m:free", None));
        assert_eq!(parse("never/heard-of/live", known), live("never/heard-of", None));
        assert_eq!(parse("odd/endpoints/m/live", known), live("odd/endpoints/m", None));
        assert_eq!(parse("kimi/endpoints/groq/fp8/live", known), live("kimi", Some("groq/fp8")));
        assert_eq!(parse("kimi/endpoints/groq%2Flive/live", known), live("kimi", Some("groq/live")));
        assert_eq!(parse("/live", known), Err(PathError::Unknown));
    }

    #[test]
    fn orders_stand_below_their_endpoint_and_an_acknowledgement_below_the_model() {
        let order = |model: &str, verb, endpoint: Option<&str>| {
            Ok(Target {
                model: model.to_owned(),
                resource: Resource::Order { verb, endpoint: endpoint.map(str::to_owned) },
            })
        };
        assert_eq!(parse("lab/m:free/ack", known), order("lab/m:free", Verb::Ack, None));
        assert_eq!(parse("kimi/endpoints/groq/fp8/pin", known), order("kimi", Verb::Pin, Some("groq/fp8")));
        assert_eq!(parse("kimi/endpoints/groq%2Ffp8/note", known), order("kimi", Verb::Note, Some("groq/fp8")));
        assert_eq!(parse("kimi/endpoints/ack/ban", known), order("kimi", Verb::Ban, Some("ack")));
        assert_eq!(parse("kimi/pin", known), Err(PathError::Unknown));
    }

    #[test]
    fn what_is_no_resource_is_said_to_be_none() {
        for path in
            ["", "lab/m", "/allowlist", "allowlist", "lab/m/nonsense", "lab/m/series", "lab/m/endpoints//series"]
        {
            assert_eq!(parse(path, known), Err(PathError::Unknown), "{path}");
        }
        for path in ["a%2/allowlist", "a%zz/allowlist", "%ff/allowlist"] {
            assert_eq!(parse(path, known), Err(PathError::Encoding), "{path}");
        }
    }

    proptest! {
        #[test]
        fn no_path_breaks_it(path in "[a-z/%0-9:]{0,40}(/allowlist|/series|/pin|/ack|)") {
            let _ = parse(&path, known);
        }
    }
}
