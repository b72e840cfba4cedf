//! `replay`: what is published follows from what is stored, to the last byte; or what another policy would have given.

use std::fmt::Write as _;

use serde_json::json;

use super::args::{Cli, ReplayArgs};
use super::output::{self, CliError, Exit};
use super::setup;
use crate::clock::rfc3339;
use crate::config::{ModelConfig, PolicyFile};
use crate::daemon::{self, Brief, Counterfactual, ReplayError, ReplayOptions, Replayed};

/// Runs it.
pub async fn run(cli: &Cli, args: &ReplayArgs) -> Result<Exit, CliError> {
    let config = setup::config(cli)?;
    let models: Vec<&ModelConfig> = match &args.model {
        Some(name) => vec![setup::model(&config, Some(name))?],
        None if args.revision.is_some() => vec![setup::model(&config, None)?],
        None => config.models.iter().collect(),
    };
    let policies = args.policy.as_deref().map(PolicyFile::load).transpose()?;
    let store = setup::store(&config).await?;
    let mut found = Vec::new();
    let mut result = Ok(());
    for model in models {
        let policy = policies.as_ref().map(|file| file.of(model.id.as_str()).clone());
        let options = ReplayOptions { revision: args.revision, policy };
        match daemon::replay(&store, &model.id, &options).await {
            Ok(replayed) => found.push(replayed),
            // Of several models some may not have been swept yet.
            Err(error @ ReplayError::NoHistory(_)) if args.model.is_none() => output::note(&error.to_string()),
            Err(error) => {
                result = Err(CliError::failed(error));
                break;
            }
        }
    }
    store.close().await;
    result?;
    show(cli, &found)
}

fn show(cli: &Cli, found: &[Replayed]) -> Result<Exit, CliError> {
    let equal = found.iter().all(|r| r.difference.is_none());
    if cli.json {
        output::json(&json!({"equal": equal, "models": found}))?;
    } else {
        for replayed in found {
            output::line(&text(replayed))?;
        }
        if found.is_empty() {
            output::note("nothing to replay");
        }
    }
    Ok(if equal { Exit::Yes } else { Exit::No })
}

fn text(r: &Replayed) -> String {
    let mut out = format!(
        "{}: steps {} to {}: {} sweep(s), {} decision(s), {} revision(s)",
        r.model,
        r.from_step + 1,
        r.to_step,
        r.sweeps,
        r.decisions,
        r.revisions
    );
    if r.capability_revisions > 0 {
        let _ = write!(out, " and {} of capabilities", r.capability_revisions);
    }
    match (&r.difference, &r.counterfactual) {
        (Some(_), _) => out.push_str(": DIFFERENT"),
        (None, None) => out.push_str(": equal, byte for byte"),
        (None, Some(_)) => out.push_str(" under the other policy"),
    }
    if let Some(note) = &r.note {
        let _ = write!(out, "\n  note: {note}");
    }
    if let Some(d) = &r.difference {
        let _ =
            write!(out, "\n  step {}: {}\n  - stored:   {}\n  + replayed: {}", d.step, d.what, d.stored, d.replayed);
    }
    if let Some(other) = &r.counterfactual {
        write_counterfactual(&mut out, other);
    }
    out
}

fn write_counterfactual(out: &mut String, other: &Counterfactual) {
    let Counterfactual { lists, standings } = other;
    if lists.is_empty() {
        out.push_str("\n  every list would have been the same");
    }
    for change in lists {
        let revision = change.revision.map_or("none".to_owned(), |r| r.to_string());
        let _ = write!(out, "\n  from {} (step {}, revision {revision}):", rfc3339(change.at_us), change.step);
        if change.was == change.would {
            out.push_str(" the same again");
            continue;
        }
        let _ = write!(out, "\n    - {}\n    + {}", brief(&change.was), brief(&change.would));
    }
    for s in standings {
        let _ = write!(out, "\n  {} stands {} and would stand {}: {}", s.endpoint, s.was, s.would, s.reason);
    }
    if standings.is_empty() {
        out.push_str("\n  every endpoint would stand where it stands");
    }
}

fn brief(list: &Brief) -> String {
    let Some(mode) = list.mode else { return "no list".to_owned() };
    let ids: Vec<String> = list.listed.iter().map(|(id, weight)| format!("{id} {weight}")).collect();
    format!("{:?}: {}", mode, ids.join(", ")).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::{Difference, ListChange, StandingChange};
    use crate::domain::{AllowlistMode, EndpointId, ModelId, Standing};

    fn replayed() -> Replayed {
        Replayed {
            model: ModelId::new("lab/m").unwrap(),
            from_step: 0,
            to_step: 12,
            sweeps: 7,
            decisions: 9,
            revisions: 4,
            capability_revisions: 0,
            note: None,
            difference: None,
            counterfactual: None,
        }
    }

    fn list(mode: AllowlistMode, listed: &[(&str, u32)]) -> Brief {
        let listed = listed.iter().map(|(id, weight)| (EndpointId::new(id).unwrap(), *weight)).collect();
        Brief { mode: Some(mode), listed }
    }

    #[test]
    fn an_equal_replay_and_a_different_one() {
        insta::assert_snapshot!(text(&replayed()), @"lab/m: steps 1 to 12: 7 sweep(s), 9 decision(s), 4 revision(s): equal, byte for byte");
        let difference = Difference {
            step: 12,
            what: "allowlist revision 4".to_owned(),
            stored: r#"…"weight":99"#.to_owned(),
            replayed: r#"…"weight":100"#.to_owned(),
        };
        let different =
            Replayed { difference: Some(difference), note: Some("from step 3 on".to_owned()), ..replayed() };
        insta::assert_snapshot!(text(&different), @r#"
        lab/m: steps 1 to 12: 7 sweep(s), 9 decision(s), 4 revision(s): DIFFERENT
          note: from step 3 on
          step 12: allowlist revision 4
          - stored:   …"weight":99
          + replayed: …"weight":100
        "#);
    }

    #[test]
    fn the_lists_of_capabilities_are_counted_apart() {
        let text = text(&Replayed { capability_revisions: 3, ..replayed() });
        assert!(text.contains("4 revision(s) and 3 of capabilities: equal"), "{text}");
    }

    #[test]
    fn another_policy_reads_as_a_diff() {
        let (was, would) = (
            list(AllowlistMode::Normal, &[("a", 100), ("b/fp8", 95)]),
            list(AllowlistMode::Bootstrap, &[("a", 100), ("b/fp8", 100), ("c", 25)]),
        );
        let at_us = 1_790_000_000_000_000;
        let counterfactual = Counterfactual {
            lists: vec![
                ListChange { step: 3, at_us, revision: Some(2), was: was.clone(), would },
                ListChange { step: 9, at_us, revision: Some(3), was: was.clone(), would: was },
            ],
            standings: vec![StandingChange {
                endpoint: EndpointId::new("c").unwrap(),
                was: Standing::Excluded,
                would: Standing::Unknown,
                reason: "entered: new endpoint, no evidence yet".to_owned(),
            }],
        };
        insta::assert_snapshot!(text(&Replayed { counterfactual: Some(counterfactual), ..replayed() }), @r"
        lab/m: steps 1 to 12: 7 sweep(s), 9 decision(s), 4 revision(s) under the other policy
          from 2026-09-21T14:13:20Z (step 3, revision 2):
            - normal: a 100, b/fp8 95
            + bootstrap: a 100, b/fp8 100, c 25
          from 2026-09-21T14:13:20Z (step 9, revision 3): the same again
          c stands Excluded and would stand Unknown: entered: new endpoint, no evidence yet
        ");
    }
}
