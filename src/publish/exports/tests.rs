use std::sync::Arc;

use super::*;
use crate::config::{Config, ModelConfig, SystemEnv};

const CONFIG: &str = r#"
[[provider]]
id = "groq"
base_url = "https://api.groq.example/openai/v1"
[[provider]]
id = "to-gether"
base_url = "http://127.0.0.1:19011/v1/"
[[provider]]
id = "fire"
base_url = "https://api.fire.example/v1"

[[model]]
id = "moonshotai/kimi-k2"
aliases = ["kimi-k2"]
slugs = { hf = "moonshotai/Kimi-K2" }
  [[model.endpoint]]
  provider = "groq"
  tag = "fp8"
  upstream_model = "kimi-k2-instruct"
  slugs = { openrouter = "groq/fp8", litellm = "prov1", hf = "groq", portkey = "groq-prod", nginx = "10.0.0.1:8443" }
  [[model.endpoint]]
  provider = "to-gether"
  slugs = { litellm_api_key = "TOGETHER_KEY" }
  [[model.endpoint]]
  provider = "fire"
  slugs = { openrouter = "fireworks", host = "eu.fire.example" }
  [[model.endpoint]]
  provider = "groq"
  tag = "fp4"
  slugs = { openrouter = "groq/fp4", nginx = "10.0.0.1:8443" }
"#;

fn config() -> ModelConfig {
    Config::parse(CONFIG, std::path::Path::new("exactod.toml"), &SystemEnv).unwrap().models.remove(0)
}

fn list(listed: &[(&str, u32)], excluded: &[&str]) -> Allowlist {
    let config = config();
    let slugs = |id: &str| {
        let endpoint = config.endpoints.iter().find(|e| e.id.as_str() == id);
        endpoint.map(|e| e.slugs.clone()).unwrap_or_default()
    };
    let providers = (1..).zip(listed).map(|(rank, (id, weight))| {
        serde_json::json!({"id": id, "rank": rank, "weight": weight, "tier": "admitted", "slugs": slugs(id)})
    });
    let excluded =
        excluded.iter().map(|id| serde_json::json!({"id": id, "reason": "bad", "since": "2026-01-30T06:00:00Z"}));
    serde_json::from_value(serde_json::json!({
        "schema": "exacto.allowlist/v1", "model": "moonshotai/kimi-k2", "version": 17, "mode": "normal",
        "issued_at": "2026-01-31T12:00:00Z", "expires_at": "2026-02-01T12:00:00Z",
        "providers": providers.collect::<Vec<_>>(), "excluded": excluded.collect::<Vec<_>>()}))
    .unwrap()
}

fn usual() -> Allowlist {
    list(&[("groq/fp8", 100), ("to-gether", 50)], &["fire"])
}

fn scene<'a>(config: &'a ModelConfig, list: &'a Allowlist) -> Scene<'a> {
    Scene {
        list,
        model: ModelNames {
            id: config.id.as_str(),
            aliases: config.aliases.iter().map(|a| a.as_str()).collect(),
            public_name: (&config.public_name).into(),
            slugs: &config.slugs,
        },
        endpoints: config.endpoints.iter().zip(config.providers.iter().map(Arc::as_ref)).collect(),
    }
}

fn wanted(format: Format, form: Form) -> Wanted {
    Wanted { format, form, gateway: None }
}

fn rendered(format: Format, form: Form, list: &Allowlist) -> Result<String, NotRendered> {
    render(&wanted(format, form), &scene(&config(), list))
}

fn allow(format: Format) -> String {
    rendered(format, Form::Allow, &usual()).unwrap()
}

#[test]
fn every_format_has_the_shape_that_its_gateway_takes() {
    insta::assert_snapshot!(allow(Format::OpenRouter), @r#"{"model":"moonshotai/kimi-k2","provider":{"only":["groq/fp8","to-gether"],"order":["groq/fp8","to-gether"],"allow_fallbacks":false}}"#);
    insta::assert_snapshot!(allow(Format::Vercel), @r#"{"providerOptions":{"gateway":{"only":["groq/fp8","to-gether"],"order":["groq/fp8","to-gether"]}}}"#);
    insta::assert_snapshot!(allow(Format::HuggingFace), @r#"["moonshotai/Kimi-K2:groq","moonshotai/Kimi-K2:to-gether"]"#);
    insta::assert_snapshot!(allow(Format::Helicone), @r#""kimi-k2/groq/fp8,kimi-k2/to-gether""#);
    insta::assert_snapshot!(allow(Format::Portkey), @r#"{"strategy":{"mode":"loadbalance"},"targets":[{"id":"groq/fp8","provider":"@groq-prod","weight":1.0,"override_params":{"model":"kimi-k2-instruct"}},{"id":"to-gether","provider":"openai","custom_host":"http://127.0.0.1:19011/v1","weight":0.5,"override_params":{"model":"moonshotai/kimi-k2"}}]}"#);
    insta::assert_snapshot!(allow(Format::LitellmYaml), @r#"
    # Written by exactod: changes are lost.
    model_list:
      - model_name: "kimi-k2:exacto"
        litellm_params:
          model: "openai/kimi-k2-instruct"
          api_base: "https://api.groq.example/openai/v1"
          api_key: "os.environ/GROQ_API_KEY"
          weight: 100
        model_info:
          id: "prov1"
      - model_name: "kimi-k2:exacto"
        litellm_params:
          model: "openai/moonshotai/kimi-k2"
          api_base: "http://127.0.0.1:19011/v1"
          api_key: "os.environ/TOGETHER_KEY"
          weight: 50
        model_info:
          id: "to-gether"
    "#);
    insta::assert_snapshot!(allow(Format::Envoy), @r#"{"version_info":"17","type_url":"type.googleapis.com/envoy.config.route.v3.RouteConfiguration","resources":[{"@type":"type.googleapis.com/envoy.config.route.v3.RouteConfiguration","name":"exacto","virtual_hosts":[{"name":"exacto","domains":["*"],"routes":[{"match":{"prefix":"/","headers":[{"name":"x-model","string_match":{"exact":"kimi-k2:exacto"}}]},"route":{"timeout":"300s","retry_policy":{"retry_on":"5xx,reset,connect-failure","num_retries":1},"weighted_clusters":{"clusters":[{"name":"groq/fp8","weight":100,"host_rewrite_literal":"api.groq.example","response_headers_to_add":[{"header":{"key":"x-exacto-provider","value":"groq/fp8"},"append_action":"OVERWRITE_IF_EXISTS_OR_ADD"}]},{"name":"to-gether","weight":50,"host_rewrite_literal":"127.0.0.1:19011","response_headers_to_add":[{"header":{"key":"x-exacto-provider","value":"to-gether"},"append_action":"OVERWRITE_IF_EXISTS_OR_ADD"}]}]}}},{"match":{"prefix":"/","headers":[{"name":"x-ai-eg-model","string_match":{"exact":"kimi-k2:exacto"}}]},"route":{"timeout":"300s","retry_policy":{"retry_on":"5xx,reset,connect-failure","num_retries":1},"weighted_clusters":{"clusters":[{"name":"groq/fp8","weight":100,"host_rewrite_literal":"api.groq.example","response_headers_to_add":[{"header":{"key":"x-exacto-provider","value":"groq/fp8"},"append_action":"OVERWRITE_IF_EXISTS_OR_ADD"}]},{"name":"to-gether","weight":50,"host_rewrite_literal":"127.0.0.1:19011","response_headers_to_add":[{"header":{"key":"x-exacto-provider","value":"to-gether"},"append_action":"OVERWRITE_IF_EXISTS_OR_ADD"}]}]}}}]}]}]}"#);
    insta::assert_snapshot!(allow(Format::Nginx), @r"
    # Written by exactod: changes are lost.
    server 10.0.0.1:8443 weight=100;
    server 127.0.0.1:19011 weight=50;
    ");
    insta::assert_snapshot!(allow(Format::Kong), @r#"{"config":{"balancer":{"algorithm":"round-robin"},"targets":[{"route_type":"llm/v1/chat","weight":100,"model":{"provider":"openai","name":"kimi-k2-instruct","options":{"upstream_url":"https://api.groq.example/openai/v1/chat/completions"}}},{"route_type":"llm/v1/chat","weight":50,"model":{"provider":"openai","name":"moonshotai/kimi-k2","options":{"upstream_url":"http://127.0.0.1:19011/v1/chat/completions"}}}]}}"#);
    insta::assert_snapshot!(allow(Format::Names), @r#"{"model":"moonshotai/kimi-k2","name":"kimi-k2:exacto","mode":"normal","allow":["groq/fp8","to-gether"],"exclude":["fire"]}"#);
    assert_eq!(allow(Format::Json), crate::curation::render(&usual()), "the document itself");
}

#[test]
fn exceptions_are_for_gateways_that_are_open_by_default() {
    let exclude = |format| rendered(format, Form::Exclude, &usual());
    insta::assert_snapshot!(exclude(Format::OpenRouter).unwrap(), @r#"{"model":"moonshotai/kimi-k2","provider":{"ignore":["fireworks"]}}"#);
    insta::assert_snapshot!(exclude(Format::Nginx).unwrap(), @r"
    # Written by exactod: changes are lost.
    server eu.fire.example:443 down;
    ");
    insta::assert_snapshot!(exclude(Format::Names).unwrap(), @r#"{"model":"moonshotai/kimi-k2","name":"kimi-k2:exacto","exclude":["fire"]}"#);
    for format in Format::ALL {
        let has_one = matches!(format, Format::OpenRouter | Format::Nginx | Format::Names);
        assert_eq!(exclude(format).is_ok(), has_one, "{format:?}");
    }
}

#[test]
fn an_exception_never_hits_a_listed_endpoint_of_the_same_name() {
    // Both tags of groq are one server to nginx.
    let list = list(&[("groq/fp8", 100)], &["groq/fp4", "fire"]);
    let servers = rendered(Format::Nginx, Form::Exclude, &list).unwrap();
    assert!(!servers.contains("10.0.0.1") && servers.contains("server eu.fire.example:443 down;"), "{servers}");
    let names = rendered(Format::OpenRouter, Form::Exclude, &list).unwrap();
    assert!(names.contains(r#""ignore":["groq/fp4","fireworks"]"#), "{names}");
    let both = self::list(&[("groq/fp8", 100), ("groq/fp4", 100)], &[]);
    let servers = rendered(Format::Nginx, Form::Allow, &both).unwrap();
    assert_eq!(servers.matches("server ").count(), 1, "{servers}");
}

#[test]
fn an_empty_set_is_refused_in_every_format() {
    let nobody = list(&[], &["fire"]);
    for (format, form) in Format::ALL.into_iter().flat_map(|format| [(format, Form::Allow), (format, Form::Exclude)]) {
        assert_eq!(rendered(format, form, &nobody), Err(NotRendered::Empty), "{format:?} {form:?}");
    }
    // Listed, but not configured any more: there is no address.
    let gone = list(&[("gone", 100)], &[]);
    for format in [Format::Nginx, Format::Portkey, Format::Kong, Format::LitellmYaml] {
        assert_eq!(rendered(format, Form::Allow, &gone), Err(NotRendered::Empty), "{format:?}");
    }
    assert!(rendered(Format::OpenRouter, Form::Allow, &gone).unwrap().contains(r#""only":["gone"]"#));
}

#[test]
fn names_go_by_the_gateway_that_is_asked_for() {
    let (config, list) = (config(), usual());
    let by = |gateway: &str| {
        let wanted = Wanted { gateway: Some(gateway.to_owned()), ..wanted(Format::Names, Form::Allow) };
        render(&wanted, &scene(&config, &list)).unwrap()
    };
    assert!(by("openrouter").contains(r#""allow":["groq/fp8","to-gether"],"exclude":["fireworks"]"#));
    assert!(by("litellm").contains(r#""allow":["prov1","to-gether"]"#));
    assert!(by("never-heard-of").contains(r#""allow":["groq/fp8","to-gether"]"#), "without a slug the id");
    let odd = Wanted { gateway: Some("x".to_owned()), ..wanted(Format::Kong, Form::Allow) };
    assert_eq!(render(&odd, &scene(&config, &list)), Err(NotRendered::OwnNames("kong")));
}

#[test]
fn what_nginx_would_read_as_configuration_is_refused() {
    for name in ["10.0.0.1:80; } evil {", "a b", "x\ny", "$host"] {
        let mut config = config();
        config.endpoints[0].slugs.insert("nginx".to_owned(), name.to_owned());
        let list = usual();
        let rendered = render(&wanted(Format::Nginx, Form::Allow), &scene(&config, &list));
        assert!(matches!(rendered, Err(NotRendered::BadName { .. })), "{name:?}: {rendered:?}");
    }
    // A name with line ends stays one YAML string.
    let mut config = config();
    config.endpoints[0].slugs.insert("litellm".to_owned(), "a\n- evil: \"x\"".to_owned());
    let mut list = usual();
    list.providers[0].slugs = config.endpoints[0].slugs.clone();
    let yaml = render(&wanted(Format::LitellmYaml, Form::Allow), &scene(&config, &list)).unwrap();
    assert!(yaml.contains(r#"id: "a\n- evil: \"x\"""#), "{yaml}");
}

#[test]
fn the_index_of_groups_names_each_model_by_its_public_name_and_aliases() {
    let (config, list) = (config(), usual());
    insta::assert_snapshot!(groups(17, &[scene(&config, &list)]), @r#"{"schema":"exacto.groups/v1","version":17,"expires_at":"2026-02-01T12:00:00Z","groups":{"kimi-k2:exacto":["prov1","to-gether"]}}"#);
    assert_eq!(groups(3, &[]), r#"{"schema":"exacto.groups/v1","version":3,"expires_at":null,"groups":{}}"#);
}

#[test]
fn formats_and_forms_have_names() {
    for format in Format::ALL {
        assert_eq!(Format::by_name(format.name()), Some(format));
    }
    assert_eq!((Format::by_name("x"), Form::by_name("exclude")), (None, Some(Form::Exclude)));
}
