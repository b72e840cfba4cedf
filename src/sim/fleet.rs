//! A random fleet for the demo: mostly good endpoints that are equal, and bad ones that surely lose.

use super::draws::{Draw, hash_text};
use super::spec::{
    ArgumentStyle, Benign, CallIds, ContentWithCalls, Deltas, Distribution, EndpointSpec, Fingerprint, Injection,
    Latency, ReasoningField, SimSpec, Truth,
};
use crate::domain::{EndpointId, IdError, ModelId};

/// Fewest endpoints of a random fleet.
pub const ENDPOINTS_MIN: usize = 8;
/// Most endpoints of a random fleet.
pub const ENDPOINTS_MAX: usize = 12;
/// Rate of right answers of a good endpoint, the same for all of them.
pub const GOOD_BASE: f64 = 0.99;
/// Share of good endpoints.
const GOOD_SHARE: f64 = 0.6;
/// What a bad endpoint of a random fleet loses at least, in one of the shipped suites (share of its cases).
pub const LOSS_MIN: f64 = 0.20;

/// Names that mean nothing, so that nothing can be read from them.
const NAMES: &[&str] = &[
    "alder",
    "basalt",
    "cobalt",
    "delta-nine",
    "ember",
    "fjord",
    "garnet",
    "harbor",
    "indigo",
    "juniper",
    "kestrel",
    "lagoon",
    "meridian",
    "nimbus",
    "opal",
    "pumice",
    "quartz",
    "rowan",
    "sable",
    "tundra",
    "umber",
    "vesper",
    "willow",
    "zephyr",
];

/// Ways to be bad. Each loses more than [`LOSS_MIN`] of a shipped suite, as a test computes from the suites.
const RECIPES: &[&[(&str, f64)]] = &[
    // Tool use.
    &[("args_python_literal", 0.45)],
    &[("args_truncated_finish_tool_calls", 0.45)],
    &[("args_schema_invalid", 0.5)],
    &[("args_double_encoded", 0.45)],
    &[("name_undeclared", 0.45)],
    &[("name_template_tokens", 0.45)],
    &[("leak_tool_call_tags", 0.45)],
    &[("leak_section_markers", 0.45)],
    &[("leak_args_as_text", 0.45)],
    &[("under_calling", 0.5), ("tool_choice_required_ignored", 0.8)],
    &[("parallel_calls_dropped", 1.0), ("args_schema_invalid", 0.3)],
    &[("stream_type_not_coerced", 1.0), ("stream_cut", 0.5), ("args_python_literal", 0.3)],
    &[("empty_stream_with_tools", 0.9), ("name_undeclared", 0.3)],
    &[("finish_tool_calls_empty", 0.45)],
    // Output quality.
    &[("answer_in_reasoning", 0.4)],
    &[("leak_harmony_channels", 0.4)],
    &[("json_schema_downgraded", 1.0), ("context_silently_truncated", 1.0), ("compressed_model", 0.22)],
    &[("repeated_tokens", 0.5), ("compressed_model", 0.15)],
    // Both.
    &[("compressed_model", 0.32)],
    &[("ok_empty_body_for_429", 0.35)],
    &[("reasoning_only", 0.35)],
    &[("model_substituted", 0.35)],
];

/// A random fleet of one model. `n` is brought into 8..=12. The truth is decided here, before anything runs.
///
/// # Errors
/// [`IdError`] when a generated name is no endpoint id (it always is).
pub fn random_fleet(seed: u64, n: usize, model: ModelId) -> Result<SimSpec, IdError> {
    let n = n.clamp(ENDPOINTS_MIN, ENDPOINTS_MAX);
    let mut draw = Draw::new([seed, hash_text("fleet"), n as u64, 0]);
    let good = (n as f64 * GOOD_SHARE).round() as usize;
    let mut names = NAMES.to_vec();
    draw.shuffle(&mut names);
    let mut recipes: Vec<usize> = (0..RECIPES.len()).collect();
    draw.shuffle(&mut recipes);
    let mut endpoints = Vec::with_capacity(n);
    for (i, name) in names.into_iter().take(n).enumerate() {
        let mut endpoint = EndpointSpec::healthy(EndpointId::new(name)?);
        endpoint.base = GOOD_BASE;
        endpoint.latency = latency(&mut draw);
        endpoint.benign = benign(&mut draw);
        if i >= good {
            let recipe = RECIPES[recipes[(i - good) % recipes.len()]];
            endpoint.injections =
                recipe.iter().map(|(defect, prevalence)| Injection::new(defect, *prevalence)).collect();
        }
        endpoint.truth = Some(if i < good { Truth::Good } else { Truth::Bad });
        endpoints.push(endpoint);
    }
    draw.shuffle(&mut endpoints);
    Ok(SimSpec { model, seed, endpoints })
}

/// Milliseconds, for the demo is in a hurry; the differences are what counts.
fn latency(draw: &mut Draw) -> Latency {
    let base_ms = 1.0 + draw.below(8) as f64;
    let distribution = if draw.chance(0.5) { Distribution::Uniform } else { Distribution::Exponential };
    Latency { base_ms, jitter_ms: 1.0 + draw.below(4) as f64, distribution, stream_ms: 0.0 }
}

fn benign(draw: &mut Draw) -> Benign {
    fn one<T: Copy + Default>(draw: &mut Draw, of: &[T]) -> T {
        draw.pick(of).copied().unwrap_or_default()
    }
    Benign {
        call_ids: one(
            draw,
            &[CallIds::CallHex, CallIds::Uuid, CallIds::FunctionsNameIndex, CallIds::Short, CallIds::ToolHex],
        ),
        arguments: one(draw, &[ArgumentStyle::AsGiven, ArgumentStyle::Spaced, ArgumentStyle::Reversed]),
        deltas: one(draw, &[Deltas::Many, Deltas::Few, Deltas::One]),
        content_with_calls: one(draw, &[ContentWithCalls::Null, ContentWithCalls::Absent, ContentWithCalls::Empty]),
        extra_fields: draw.chance(0.5),
        comments: draw.chance(0.3),
        keep_alives: draw.chance(0.3),
        reasoning_field: one(draw, &[ReasoningField::ReasoningContent, ReasoningField::Reasoning]),
        usage_details: draw.chance(0.5),
        fingerprint: one(draw, &[Fingerprint::None, Fingerprint::Constant, Fingerprint::Changing]),
        role_in_every_delta: draw.chance(0.2),
        crlf: draw.chance(0.2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::FaultClass;
    use crate::sim::defects::{self, Expected};
    use crate::sim::tests::kit;
    use std::collections::BTreeMap;
    use std::path::Path;

    fn fleet(seed: u64, n: usize) -> SimSpec {
        random_fleet(seed, n, ModelId::new("lab/m").unwrap()).unwrap()
    }

    #[test]
    fn fleets_have_their_shape_for_every_seed() {
        for seed in 0..200 {
            let spec = fleet(seed, 6 + (seed as usize % 8));
            let n = spec.endpoints.len();
            assert!((ENDPOINTS_MIN..=ENDPOINTS_MAX).contains(&n));
            let names: std::collections::HashSet<_> = spec.endpoints.iter().map(|e| e.name.clone()).collect();
            assert_eq!(names.len(), n);
            let (good, bad): (Vec<_>, Vec<_>) = spec.endpoints.iter().partition(|e| e.truth() == Truth::Good);
            assert_eq!(good.len(), (n as f64 * 0.6).round() as usize);
            assert!(good.iter().all(|e| e.injections.is_empty() && e.base == GOOD_BASE));
            assert!(bad.iter().all(|e| (1..=3).contains(&e.injections.len())));
            let text = toml::to_string(&spec).unwrap();
            assert_eq!(SimSpec::parse(Path::new("x"), &text).unwrap(), spec, "a fleet is a valid spec");
        }
        assert_eq!(fleet(3, 10), fleet(3, 10));
        assert_ne!(fleet(3, 10), fleet(4, 10));
    }

    #[test]
    fn the_order_says_nothing_about_the_truth() {
        let first_is_bad = (0..400).filter(|seed| fleet(*seed, 10).endpoints[0].truth() == Truth::Bad).count();
        assert!((120..200).contains(&first_is_bad), "{first_is_bad} of 400, 160 expected");
    }

    #[test]
    fn recipes_name_defects_that_exist() {
        for (id, prevalence) in RECIPES.iter().copied().flatten() {
            assert!(defects::find(id).is_some(), "{id}");
            assert!((0.0..=1.0).contains(prevalence));
        }
    }

    /// Share of a suite's cases that an endpoint with a recipe does not pass.
    fn losses(recipe: &[(&str, f64)], bodies: &[(String, serde_json::Value)]) -> BTreeMap<String, f64> {
        let injections = recipe.iter().map(|(id, prevalence)| Injection::new(id, *prevalence)).collect();
        let player = kit::player(kit::spec(injections), 1);
        let mut counts: BTreeMap<String, (u32, u32)> = BTreeMap::new();
        for (suite, body) in bodies {
            let _ = kit::ask(&player, body);
            let lost = match player.log().pop().unwrap().quality {
                Expected::Pass | Expected::Unknown => 0,
                // Missing answers are skipped for exclusion.
                Expected::Fault(fault) => u32::from(fault.class() == FaultClass::Quality),
                Expected::NoPass => 1,
            };
            let count = counts.entry(suite.clone()).or_default();
            *count = (count.0 + lost, count.1 + 1);
        }
        counts.into_iter().map(|(suite, (lost, all))| (suite, f64::from(lost) / f64::from(all))).collect()
    }

    #[test]
    fn every_recipe_loses_enough_in_a_shipped_suite() {
        let drawn = [31, 32].into_iter().flat_map(kit::instances);
        let bodies: Vec<(String, serde_json::Value)> =
            drawn.map(|(d, i)| (d.suite().name.to_string(), kit::body_of(&i).into())).collect();
        let weak: Vec<String> = RECIPES
            .iter()
            .map(|recipe| (recipe, losses(recipe, &bodies)))
            .filter(|(_, losses)| losses.values().all(|loss| *loss < LOSS_MIN + 0.06))
            .map(|(recipe, losses)| format!("{recipe:?} {losses:?}"))
            .collect();
        assert_eq!(weak, Vec::<String>::new());
    }
}
