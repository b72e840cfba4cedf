//! The OpenAPI document, made from the route table.

use bytes::Bytes;
use http::StatusCode;
use serde_json::json;
use utoipa::PartialSchema as _;
use utoipa::openapi::path::{OperationBuilder, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{AdditionalProperties, ArrayBuilder, ObjectBuilder, Schema, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, Content, HttpMethod, InfoBuilder, OpenApiBuilder, PathItem, PathsBuilder, Ref, RefOr, Required,
    ResponseBuilder,
};

use super::access::Need;
use super::acks::NewAck;
use super::orders::NewOrder;
use super::problem::Told;
use super::routes::{Answer, Operation, TABLE};
use super::sweeps::NewSweep;

const BEARER: &str = "token";
const MODEL_NOTE: &str = "Id or alias of a model; slashes and colons plain or percent-encoded";
const ENDPOINT_NOTE: &str = "Id of an endpoint within the model; slashes plain or percent-encoded";
const ABOUT: &str = "Allowlists of endpoints that serve a model well, and what stands behind them. Times: RFC 3339, and \
    microseconds since the epoch in fields that end in `_us`. Lists are newest first; `next` is the cursor of the next \
    page. Ignore fields that you do not know.";

/// The document as served.
pub fn document() -> Bytes {
    let mut paths = PathsBuilder::new();
    for operation in TABLE.iter().flat_map(|route| route.operations) {
        let method = match operation.method {
            "POST" => HttpMethod::Post,
            "PUT" => HttpMethod::Put,
            _ => HttpMethod::Get,
        };
        paths = paths.path(operation.path, PathItem::new(method, described(operation)));
    }
    let token = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    let components = schemas()
        .into_iter()
        .fold(ComponentsBuilder::new().security_scheme(BEARER, token), |c, (name, schema)| c.schema(name, schema));
    let info = InfoBuilder::new().title("exactod").version(env!("CARGO_PKG_VERSION")).description(Some(ABOUT));
    let document = OpenApiBuilder::new().info(info.build()).paths(paths.build()).components(Some(components.build()));
    // Only strings, numbers and string keys: it always serializes.
    Bytes::from(document.build().to_json().unwrap_or_default())
}

fn described(operation: &Operation) -> utoipa::openapi::path::Operation {
    let mut out = OperationBuilder::new().summary(Some(operation.summary)).operation_id(Some(id_of(operation)));
    for name in path_params(operation.path) {
        let note = match name {
            "model" => MODEL_NOTE,
            "endpoint" => ENDPOINT_NOTE,
            "format" => {
                "json, names, openrouter, vercel, portkey, huggingface, helicone, litellm-yaml, nginx, kong or envoy"
            }
            "asset" => "style.css, page.js or icon.svg",
            _ => "A UUID",
        };
        out = out.parameter(parameter(name, note, ParameterIn::Path).required(Required::True));
    }
    for param in operation.params {
        let described = parameter(param.name, param.text, ParameterIn::Query).required(Required::False);
        out = out.parameter(described.example(Some(json!(param.example))));
    }
    let body = match operation.answer {
        Answer::Accepted => Some("NewSweep"),
        Answer::Ruling => Some("NewOrder"),
        Answer::Acked => Some("NewAck"),
        Answer::Discovered => Some("DiscoveryRequest"),
        _ => None,
    };
    if let Answer::Taken(_) | Answer::Traced = operation.answer {
        out = out.request_body(Some(records(operation)));
        out =
            out.response("429", refusal("Too many bodies at once, or no room: send the same again after Retry-After"));
    }
    if let Some(schema) = body {
        let body = Content::new(Some(Ref::from_schema_name(schema)));
        let body = RequestBodyBuilder::new().content("application/json", body).required(Some(Required::True));
        out = out.request_body(Some(body.build()));
    }
    let (status, response) = success(operation);
    out = out.response(status, response);
    if operation.path.ends_with("/allowlist") || operation.path.starts_with("/v1/export/") {
        out = out.response("304", ResponseBuilder::new().description("`If-None-Match` names the current ETag").build());
    }
    if operation.answer == Answer::Discovered {
        out = out.response("304", ResponseBuilder::new().description("`version_info` is the current one").build());
    }
    if let Some(role) = operation.need.role() {
        out = out.description(Some(format!("Needs the role {role} when tokens are configured.")));
        out = out.security(SecurityRequirement::new(BEARER, Vec::<String>::new()));
    }
    for status in errors(operation) {
        let reason = status.canonical_reason().unwrap_or("error");
        out = out.response(status.as_str(), refusal(reason));
    }
    out.build()
}

fn refusal(reason: &str) -> utoipa::openapi::Response {
    let content = Content::new(Some(Ref::from_schema_name("Problem")));
    ResponseBuilder::new().description(reason).content("application/problem+json", content).build()
}

/// A body of records of live traffic.
fn records(operation: &Operation) -> utoipa::openapi::request_body::RequestBody {
    if operation.answer == Answer::Traced {
        let body = RequestBodyBuilder::new().description(Some(
            "ExportTraceServiceRequest; `Content-Encoding` gzip or zstd; at most 20 MiB packed, 32 MiB unpacked",
        ));
        let content = || Content::new(Some(object("OTLP", &[("resourceSpans", Type::Array)])));
        let body = body.content("application/x-protobuf", content()).content("application/json", content());
        return body.required(Some(Required::True)).build();
    }
    let schema = if operation.answer == Answer::Taken("202") { "Observation" } else { "LiteLlmPayload" };
    let content = || Content::new(Some(Ref::from_schema_name(schema)));
    let body = RequestBodyBuilder::new().description(Some(
        "Records, one a line or in an array; `Content-Encoding` gzip or zstd; at most 20 MiB packed, 96 MiB unpacked",
    ));
    let body = body.content("application/x-ndjson", content()).content("application/json", content());
    body.required(Some(Required::True)).build()
}

fn parameter(name: &str, note: &str, place: ParameterIn) -> ParameterBuilder {
    let text: Schema = ObjectBuilder::new().schema_type(Type::String).into();
    ParameterBuilder::new().name(name).parameter_in(place).description(Some(note)).schema(Some(text))
}

fn success(operation: &Operation) -> (&'static str, utoipa::openapi::Response) {
    let (status, kind, schema) = match operation.answer {
        Answer::Object(name) => ("200", "application/json", Some(name)),
        Answer::List => ("200", "application/json", Some("Page")),
        Answer::Accepted => ("202", "application/json", Some("Accepted")),
        Answer::Ruling => ("200", "application/json", Some("Ruling")),
        Answer::Acked => ("200", "application/json", Some("Ack")),
        Answer::Discovered => ("200", "application/json", Some("DiscoveryResponse")),
        Answer::Traced => ("200", "application/json", Some("Traced")),
        Answer::Taken(status) => (status, "application/json", Some("Taken")),
        Answer::Text(kind) => ("200", kind, None),
    };
    let content = Content::new(schema.map(Ref::from_schema_name));
    (status, ResponseBuilder::new().description(operation.summary).content(kind, content).build())
}

/// Statuses that an operation may answer with, beside success.
fn errors(operation: &Operation) -> Vec<StatusCode> {
    let mut out = Vec::new();
    let is_command = matches!(operation.answer, Answer::Accepted | Answer::Ruling | Answer::Acked);
    if matches!(operation.answer, Answer::Taken(_) | Answer::Traced) {
        // No 5xx: whoever reports is told to wait.
        return vec![
            StatusCode::BAD_REQUEST,
            StatusCode::UNAUTHORIZED,
            StatusCode::FORBIDDEN,
            StatusCode::REQUEST_TIMEOUT,
            StatusCode::PAYLOAD_TOO_LARGE,
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ];
    }
    if !operation.params.is_empty() || is_command {
        out.push(StatusCode::BAD_REQUEST);
    }
    if operation.need != Need::Nothing {
        out.extend([StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN]);
    }
    if operation.answer == Answer::Discovered {
        out.extend([StatusCode::BAD_REQUEST, StatusCode::NOT_FOUND, StatusCode::PAYLOAD_TOO_LARGE]);
    }
    if operation.path.contains('{') || is_command {
        out.push(StatusCode::NOT_FOUND);
    }
    if is_command {
        out.extend([StatusCode::CONFLICT, StatusCode::PAYLOAD_TOO_LARGE, StatusCode::UNSUPPORTED_MEDIA_TYPE]);
    }
    out.push(StatusCode::SERVICE_UNAVAILABLE);
    out
}

/// The names in braces.
pub fn path_params(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

fn id_of(operation: &Operation) -> String {
    let words = operation.path.split('/').filter(|w| !w.is_empty());
    let words = words.map(|w| w.trim_matches(['{', '}']).replace(['.', ':'], "_"));
    let path = words.collect::<Vec<_>>().join("_");
    format!("{}_{}", operation.method.to_lowercase(), if path.is_empty() { "page".to_owned() } else { path })
}

fn text() -> Schema {
    ObjectBuilder::new().schema_type(Type::String).into()
}

/// An object with some of its fields; others may follow.
fn object(about: &str, fields: &[(&str, Type)]) -> RefOr<Schema> {
    let object = ObjectBuilder::new().schema_type(Type::Object).description(Some(about));
    let object = fields.iter().fold(object, |object, (name, kind)| {
        let field: Schema = match kind {
            Type::Array => ArrayBuilder::new().items(ObjectBuilder::new().schema_type(Type::Object).build()).into(),
            kind => ObjectBuilder::new().schema_type(kind.clone()).into(),
        };
        object.property(*name, field)
    });
    Schema::from(object.additional_properties(Some(AdditionalProperties::FreeForm(true)))).into()
}

fn schemas() -> Vec<(&'static str, RefOr<Schema>)> {
    use Type::{Array, Boolean, Integer, Number, Object, String};
    let page = ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some("A page of a list, newest first; `next` is the cursor of the next page, null on the last"))
        .property("items", ArrayBuilder::new().items(ObjectBuilder::new().schema_type(Type::Object).build()))
        .property("next", text());
    vec![
        ("Problem", Told::schema()),
        ("NewSweep", NewSweep::schema()),
        ("NewOrder", NewOrder::schema()),
        ("NewAck", NewAck::schema()),
        (
            "Ack",
            object(
                "What a consumer said last about a list",
                &[
                    ("client", String),
                    ("model", String),
                    ("capability", String),
                    ("version", Integer),
                    ("status", String),
                    ("adopted", Integer),
                    ("current", Integer),
                    ("behind", Boolean),
                ],
            ),
        ),
        (
            "DiscoveryRequest",
            object(
                "envoy.service.discovery.v3.DiscoveryRequest",
                &[("version_info", String), ("resource_names", Array), ("node", Object), ("type_url", String)],
            ),
        ),
        (
            "DiscoveryResponse",
            object(
                "envoy.service.discovery.v3.DiscoveryResponse",
                &[("version_info", String), ("type_url", String), ("resources", Array)],
            ),
        ),
        (
            "Ruling",
            object(
                "What came of an order",
                &[
                    ("model", String),
                    ("verb", String),
                    ("changed", Boolean),
                    ("message", String),
                    ("decisions", Array),
                    ("allowlist", Object),
                ],
            ),
        ),
        (
            "Observation",
            object(
                "One answer as a gateway saw it. `id`, `ts` and `model` must be there; null is as absent. \
                 `tool_call_valid` null: not judged",
                &[
                    ("v", Integer),
                    ("id", String),
                    ("ts", String),
                    ("model", String),
                    ("provider", String),
                    ("ok", Boolean),
                    ("error_class", String),
                    ("http_status", Integer),
                    ("tools_offered", Integer),
                    ("tool_calls", Integer),
                    ("tool_call_valid", Boolean),
                    ("invalid_reason", String),
                    ("finish_reason", String),
                    ("ttft_ms", Number),
                    ("latency_ms", Number),
                    ("input_tokens", Integer),
                    ("output_tokens", Integer),
                    ("cost_usd", Number),
                    ("attempt", Integer),
                    ("stream", Boolean),
                ],
            ),
        ),
        (
            "LiteLlmPayload",
            object(
                "LiteLLM's StandardLoggingPayload; these fields are read, all others are left out",
                &[
                    ("litellm_call_id", String),
                    ("status", String),
                    ("model_group", String),
                    ("model_id", String),
                    ("api_base", String),
                    ("startTime", Number),
                    ("endTime", Number),
                    ("completionStartTime", Number),
                    ("response_time", Number),
                    ("prompt_tokens", Integer),
                    ("completion_tokens", Integer),
                    ("response_cost", Number),
                    ("model_parameters", Object),
                    ("response", Object),
                    ("error_information", Object),
                ],
            ),
        ),
        ("Traced", object("ExportTraceServiceResponse", &[("partialSuccess", Object)])),
        (
            "Taken",
            object(
                "What became of the records; the first 100 that were refused by line and code",
                &[
                    ("accepted", Integer),
                    ("duplicate", Integer),
                    ("rejected", Integer),
                    ("unattributed", Integer),
                    ("errors", Array),
                ],
            ),
        ),
        (
            "Sources",
            object(
                "The sources of live traffic since the process began, and names that meant no endpoint",
                &[("sources", Array), ("unattributed", Array), ("held", Integer)],
            ),
        ),
        (
            "LiveModel",
            object(
                "Live traffic of a model's endpoints in a window",
                &[
                    ("model", String),
                    ("from_us", Integer),
                    ("to_us", Integer),
                    ("endpoints", Array),
                    ("unattributed", Integer),
                ],
            ),
        ),
        (
            "LiveEndpoint",
            object(
                "Live traffic of an endpoint over time",
                &[
                    ("model", String),
                    ("endpoint", String),
                    ("from_us", Integer),
                    ("to_us", Integer),
                    ("step_us", Integer),
                    ("total", Object),
                    ("strata", Object),
                    ("buckets", Array),
                ],
            ),
        ),
        ("Page", Schema::from(page).into()),
        ("Status", object("A probe's answer", &[("status", String)])),
        ("Accepted", object("What became of a command", &[("status", String), ("model", String), ("watch", String)])),
        ("OpenApi", object("An OpenAPI document", &[("openapi", String)])),
        (
            "Groups",
            object(
                "exacto.groups/v1",
                &[("schema", String), ("version", Integer), ("expires_at", String), ("groups", Object)],
            ),
        ),
        ("Keys", object("A JWK set of Ed25519 keys (RFC 7517, RFC 8037)", &[("keys", Array)])),
        (
            "Allowlist",
            object(
                "exacto.allowlist/v1",
                &[
                    ("schema", String),
                    ("model", String),
                    ("version", Integer),
                    ("issued_at", String),
                    ("expires_at", String),
                    ("mode", String),
                    ("providers", Array),
                    ("excluded", Array),
                ],
            ),
        ),
        (
            "Endpoint",
            object(
                "Where an endpoint stands, why, and what would change it",
                &[
                    ("id", String),
                    ("model", String),
                    ("standing", String),
                    ("since", String),
                    ("rank", Integer),
                    ("weight", Integer),
                    ("reason", String),
                    ("explanation", String),
                    ("findings", Array),
                    ("evidence", Object),
                ],
            ),
        ),
        (
            "Series",
            object(
                "Buckets per suite, oldest first; empty ones are left out",
                &[
                    ("model", String),
                    ("endpoint", String),
                    ("from", String),
                    ("to", String),
                    ("step_us", Integer),
                    ("suites", Array),
                ],
            ),
        ),
        (
            "Sweep",
            object(
                "A sweep with its plan and progress",
                &[
                    ("id", String),
                    ("model", String),
                    ("ordinal", Integer),
                    ("kind", String),
                    ("state", String),
                    ("spent_usd", Number),
                    ("plan", Object),
                    ("progress", Object),
                ],
            ),
        ),
        (
            "Attempt",
            object(
                "One request with its tries, judgement and transcript",
                &[
                    ("id", String),
                    ("model", String),
                    ("endpoint", String),
                    ("verdict", String),
                    ("fault", String),
                    ("explanation", String),
                    ("scorers", Array),
                    ("delivered", Boolean),
                    ("votes", Array),
                    ("tries", Array),
                    ("transcript", Object),
                    ("curl", String),
                ],
            ),
        ),
    ]
}
