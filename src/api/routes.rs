//! The route table. The router and the OpenAPI document are made from it, so neither knows a route that the other does
//! not.

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, any, get, post};

use super::access::Need;
use super::guard::{App, Gate, Shared, guard};
use super::params::Param;
use super::state::ApiState;
use super::{
    acks, alarms, allowlist, attempts, decisions, discovery, endpoints, exports, health, live, models, observations,
    openapi, page, scorecards, series, sweeps, traces,
};

/// One place in the router.
pub struct Route {
    /// The path as axum reads it.
    pub mount: &'static str,
    /// Handlers by method.
    pub methods: fn() -> MethodRouter<Shared>,
    /// Whether [`guard`] stands around it; without, the handlers do that themselves.
    pub guarded: bool,
    /// What can be done there.
    pub operations: &'static [Operation],
}

/// One method on one documented path.
pub struct Operation {
    /// `GET` or `POST`.
    pub method: &'static str,
    /// The path as documented.
    pub path: &'static str,
    /// What a request must show.
    pub need: Need,
    /// What it does, in a few words.
    pub summary: &'static str,
    /// Query parameters.
    pub params: &'static [Param],
    /// What a success is.
    pub answer: Answer,
}

/// What a success looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// A JSON object, by the name of its schema.
    Object(&'static str),
    /// A page of a list.
    List,
    /// A command that was taken.
    Accepted,
    /// An order that was carried out.
    Ruling,
    /// An ack that was taken.
    Acked,
    /// What Envoy asked for.
    Discovered,
    /// Records that were taken, partly at least; with this status.
    Taken(&'static str),
    /// Traces that were taken, partly at least.
    Traced,
    /// Text of another kind.
    Text(&'static str),
}

const fn read(path: &'static str, summary: &'static str, params: &'static [Param], answer: Answer) -> Operation {
    Operation { method: "GET", path, need: Need::Read, summary, params, answer }
}

const fn open(path: &'static str, summary: &'static str, answer: Answer) -> Operation {
    Operation { method: "GET", path, need: Need::Nothing, summary, params: &[], answer }
}

const fn order(path: &'static str, summary: &'static str) -> Operation {
    Operation { method: "POST", path, need: Need::Admin, summary, params: &[], answer: Answer::Ruling }
}

/// Every route.
pub const TABLE: &[Route] = &[
    Route {
        mount: "/v1/models",
        methods: || get(models::list),
        guarded: true,
        operations: &[read("/v1/models", "Models with their endpoints and current allowlists", &[], Answer::List)],
    },
    Route {
        mount: "/v1/models/{*path}",
        methods: || any(models::dispatch),
        guarded: false,
        operations: &[
            Operation {
                need: Need::Allowlist,
                ..read(
                    "/v1/models/{model}/allowlist",
                    "The current allowlist",
                    allowlist::PARAMS,
                    Answer::Object("Allowlist"),
                )
            },
            Operation {
                need: Need::Allowlist,
                ..read(
                    "/v1/models/{model}/allowlist.sig",
                    "The signature of the current allowlist",
                    allowlist::WHICH_PARAMS,
                    Answer::Text("text/plain"),
                )
            },
            Operation {
                need: Need::Allowlist,
                ..read(
                    "/v1/models/{model}/allowlist/watch",
                    "The allowlist as server-sent events, one for each revision",
                    allowlist::WHICH_PARAMS,
                    Answer::Text("text/event-stream"),
                )
            },
            read("/v1/models/{model}/decisions", "Decisions, newest first", decisions::PARAMS, Answer::List),
            read("/v1/models/{model}/scorecards", "Scorecards over a window", scorecards::PARAMS, Answer::List),
            read(
                "/v1/models/{model}/endpoints/{endpoint}",
                "Where an endpoint stands, why, and what would change it",
                endpoints::PARAMS,
                Answer::Object("Endpoint"),
            ),
            read(
                "/v1/models/{model}/endpoints/{endpoint}/series",
                "Success rates over time",
                series::PARAMS,
                Answer::Object("Series"),
            ),
            read(
                "/v1/models/{model}/live",
                "What live traffic said about the endpoints of a model",
                live::MODEL_PARAMS,
                Answer::Object("LiveModel"),
            ),
            read(
                "/v1/models/{model}/endpoints/{endpoint}/live",
                "What live traffic said about an endpoint, over time",
                live::PARAMS,
                Answer::Object("LiveEndpoint"),
            ),
            order("/v1/models/{model}/endpoints/{endpoint}/pin", "List an endpoint whatever its standing"),
            order("/v1/models/{model}/endpoints/{endpoint}/unpin", "Let the standing of a pinned endpoint rule again"),
            order("/v1/models/{model}/endpoints/{endpoint}/ban", "Neither list nor ask an endpoint"),
            order("/v1/models/{model}/endpoints/{endpoint}/unban", "Let the standing of a banned endpoint rule again"),
            order("/v1/models/{model}/endpoints/{endpoint}/reset", "Forget the evidence, measure afresh"),
            order("/v1/models/{model}/endpoints/{endpoint}/note", "Put a remark into the decision log"),
            order("/v1/models/{model}/ack", "End the hold of a common alarm"),
        ],
    },
    Route {
        mount: "/v1/sweeps",
        methods: || get(sweeps::list).post(sweeps::start),
        guarded: true,
        operations: &[
            read("/v1/sweeps", "Sweeps, newest first", sweeps::PARAMS, Answer::List),
            Operation {
                method: "POST",
                path: "/v1/sweeps",
                need: Need::Admin,
                summary: "Start a sweep",
                params: &[],
                answer: Answer::Accepted,
            },
        ],
    },
    Route {
        mount: "/v1/sweeps/{id}",
        methods: || get(sweeps::get),
        guarded: true,
        operations: &[read("/v1/sweeps/{id}", "A sweep with its progress", &[], Answer::Object("Sweep"))],
    },
    Route {
        mount: "/v1/attempts",
        methods: || get(attempts::list),
        guarded: true,
        operations: &[read("/v1/attempts", "Attempts, newest first", attempts::PARAMS, Answer::List)],
    },
    Route {
        mount: "/v1/attempts/{id}",
        methods: || get(attempts::get),
        guarded: true,
        operations: &[read(
            "/v1/attempts/{id}",
            "An attempt with its transcript and the curl that repeats it",
            &[],
            Answer::Object("Attempt"),
        )],
    },
    Route {
        mount: "/v1/alarms",
        methods: || get(alarms::list),
        guarded: true,
        operations: &[read("/v1/alarms", "Alarms, newest first", alarms::PARAMS, Answer::List)],
    },
    Route {
        mount: "/v1/export/{*path}",
        methods: || any(exports::dispatch),
        guarded: false,
        operations: &[
            Operation {
                need: Need::Allowlist,
                ..read(
                    "/v1/export/litellm",
                    "The deployments of every curated model, for the LiteLLM plugin",
                    exports::GROUPS_PARAMS,
                    Answer::Object("Groups"),
                )
            },
            Operation {
                need: Need::Allowlist,
                ..read(
                    "/v1/export/{format}/{model}",
                    "The current allowlist in the words of a gateway",
                    exports::PARAMS,
                    Answer::Text("*/*"),
                )
            },
        ],
    },
    Route {
        mount: "/v1/acks",
        methods: || get(acks::list).post(acks::take),
        guarded: true,
        operations: &[
            read("/v1/acks", "Which consumer runs which revision", acks::PARAMS, Answer::List),
            Operation {
                method: "POST",
                path: "/v1/acks",
                need: Need::Read,
                summary: "Say which revision is in use, or why one is not",
                params: &[],
                answer: Answer::Acked,
            },
        ],
    },
    Route {
        mount: "/v3/discovery:routes",
        methods: || post(discovery::routes),
        guarded: true,
        operations: &[Operation {
            method: "POST",
            path: "/v3/discovery:routes",
            need: Need::Discovery,
            summary: "Routes for Envoy, by REST",
            params: &[],
            answer: Answer::Discovered,
        }],
    },
    Route {
        mount: "/v1/observations",
        methods: || any(observations::dispatch),
        guarded: false,
        operations: &[
            read("/v1/observations", "How the sources of live traffic fare", &[], Answer::Object("Sources")),
            Operation {
                method: "POST",
                path: "/v1/observations",
                need: Need::Ingest,
                summary: "Report live traffic: records one a line, or in an array; gzip or zstd",
                params: &[],
                answer: Answer::Taken("202"),
            },
        ],
    },
    Route {
        mount: "/v1/ingest/litellm",
        methods: || any(observations::litellm),
        guarded: false,
        operations: &[Operation {
            method: "POST",
            path: "/v1/ingest/litellm",
            need: Need::Ingest,
            summary: "Report live traffic by LiteLLM's logging payloads: one, several in an array, or one a line",
            params: &[],
            answer: Answer::Taken("200"),
        }],
    },
    Route {
        mount: "/v1/traces",
        methods: || any(traces::take),
        guarded: false,
        operations: &[
            Operation {
                method: "POST",
                path: "/v1/traces",
                need: Need::Ingest,
                summary: "Report live traffic by traces of OpenTelemetry (OTLP/HTTP): protobuf or JSON",
                params: &[],
                answer: Answer::Traced,
            },
            Operation {
                method: "PUT",
                path: "/v1/traces",
                need: Need::Ingest,
                summary: "As POST",
                params: &[],
                answer: Answer::Traced,
            },
        ],
    },
    Route {
        mount: "/.well-known/exacto-keys.json",
        methods: || get(health::keys),
        guarded: true,
        operations: &[open("/.well-known/exacto-keys.json", "Public keys, as a JWK set", Answer::Object("Keys"))],
    },
    Route {
        mount: "/healthz",
        methods: || get(health::alive),
        guarded: true,
        operations: &[open("/healthz", "The process answers", Answer::Object("Status"))],
    },
    Route {
        mount: "/readyz",
        methods: || get(health::ready),
        guarded: true,
        operations: &[open("/readyz", "The daemon has started and its store answers", Answer::Object("Status"))],
    },
    Route {
        mount: "/metrics",
        methods: || get(health::metrics),
        guarded: true,
        operations: &[read("/metrics", "Metrics for Prometheus", &[], Answer::Text("application/openmetrics-text"))],
    },
    Route {
        mount: "/openapi.json",
        methods: || get(health::openapi),
        guarded: true,
        operations: &[open("/openapi.json", "This document", Answer::Object("OpenApi"))],
    },
    Route {
        mount: "/",
        methods: || get(page::whole),
        guarded: true,
        operations: &[Operation {
            need: Need::ReadInBrowser,
            ..read("/", "The page for people", &[], Answer::Text("text/html"))
        }],
    },
    Route {
        mount: "/page/fragment",
        methods: || get(page::fragment),
        guarded: true,
        operations: &[Operation {
            need: Need::ReadInBrowser,
            ..read("/page/fragment", "The part of the page that changes", &[], Answer::Text("text/html"))
        }],
    },
    Route {
        mount: "/page/{asset}",
        methods: || get(page::asset),
        guarded: true,
        operations: &[open("/page/{asset}", "Style, script and icon of the page", Answer::Text("text/css"))],
    },
];

/// The API.
pub fn router(state: ApiState) -> Router {
    let app: Shared = Arc::new(App::new(state, openapi::document()));
    let mut router = Router::new();
    for route in TABLE {
        let methods = (route.methods)();
        router = router.route(route.mount, if route.guarded { guarded(&app, route, methods) } else { methods });
    }
    let nowhere = Gate { app: Arc::clone(&app), route: "unknown", operations: &[], otherwise: Need::Nothing };
    let fallback = any(models::unknown_path).layer(from_fn_with_state(nowhere, guard));
    router.fallback_service(fallback.with_state(Arc::clone(&app))).with_state(app)
}

fn guarded(app: &Shared, route: &Route, methods: MethodRouter<Shared>) -> MethodRouter<Shared> {
    let gate = Gate { app: Arc::clone(app), route: route.mount, operations: route.operations, otherwise: Need::Read };
    methods.layer(from_fn_with_state(gate, guard))
}
