//! `allowlist`, `decisions`, `attempts`, `attempt`: what is stored, for people and programs.

use serde_json::{Value, json};

use super::args::{AllowlistArgs, AttemptArgs, AttemptsArgs, Cli, DecisionsArgs, SweepsArgs};
use super::output::{self, CliError, Exit};
use super::{names, setup};
use crate::api::views;
use crate::clock::rfc3339;
use crate::config::Config;
use crate::diagnostics::nearest;
use crate::domain::{Allowlist, Attempt, Capability, DecisionKind, EndpointId, Exchange, Fault, ModelId, SweepId, Try};
use crate::store::{Ack, AttemptFilter, DecisionFilter, Page, Store, StoreError, StoredAllowlist, StoredAttempt};

/// `allowlist`: the stored bytes with `--json`, a table without.
pub async fn allowlist(cli: &Cli, args: &AllowlistArgs) -> Result<Exit, CliError> {
    let config = setup::config(cli)?;
    let model = setup::model(&config, args.model.as_deref())?;
    let capability = args.capability.as_deref().map(|name| setup::capability(model, name)).transpose()?;
    let store = setup::store(&config).await?;
    let stored = match &capability {
        None => store.allowlist(&model.id, None).await,
        Some(capability) => store.capability_list(&model.id, capability).await,
    };
    store.close().await;
    let Some(stored) = stored.map_err(CliError::failed)? else {
        let of = capability.map(|c| format!("capability {c} of ")).unwrap_or_default();
        output::note(&format!("no list of {of}{} yet: run `exactod sweep` or `exactod serve` first", model.id));
        return Ok(Exit::No);
    };
    if cli.json {
        output::line(&stored.list.document)?;
        return Ok(Exit::Yes);
    }
    let list: Allowlist = serde_json::from_str(&stored.list.document).map_err(CliError::failed)?;
    let mut table = output::table(&["rank", "endpoint", "tier", "weight", "slugs"]);
    for e in &list.providers {
        let slugs = e.slugs.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(" ");
        table.add_row([e.rank.to_string(), e.id.to_string(), e.tier.clone(), e.weight.to_string(), slugs]);
    }
    output::line(&format!(
        "{}{} revision {} ({}), issued {}, expires {}\n{table}",
        list.model,
        list.capability.as_ref().map(|c| format!(", capability {c},")).unwrap_or_default(),
        list.version,
        list.mode.name(),
        list.issued_at,
        list.expires_at
    ))?;
    for e in &list.excluded {
        output::line(&format!("not listed: {} since {}: {}", e.id, e.since, e.reason))?;
    }
    Ok(Exit::Yes)
}

/// `consumers`.
pub async fn consumers(cli: &Cli) -> Result<Exit, CliError> {
    let config = setup::config(cli)?;
    let store = setup::store(&config).await?;
    let read = async { Ok::<_, StoreError>((store.acks().await?, store.current_allowlists().await?)) }.await;
    store.close().await;
    let (acks, lists) = read.map_err(CliError::failed)?;
    let current = |ack: &Ack| {
        let capability = |list: &StoredAllowlist| list.capability.as_ref().map_or("", Capability::as_str).to_owned();
        let of = lists.iter().find(|list| list.model.as_str() == ack.model && capability(list) == ack.capability);
        of.map(|list| list.list.revision)
    };
    let items: Vec<Value> = acks.iter().map(|ack| views::ack(ack, current(ack))).collect();
    if cli.json {
        output::json(&json!({"items": items, "next": null}))?;
        return Ok(Exit::Yes);
    }
    let mut table = output::table(&["consumer", "list", "runs", "served", "last word", "about"]);
    let number = |n: Option<u64>| n.map_or_else(|| "-".to_owned(), |n| n.to_string());
    for ack in &acks {
        let list = [ack.model.as_str(), ack.capability.as_str()];
        let list = list.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
        let about = format!("{} {} {}", ack.status.name(), ack.version, ack.detail);
        let list = if list.is_empty() { "all models".to_owned() } else { list };
        table.add_row([
            ack.client.clone(),
            list,
            number(ack.adopted),
            number(current(ack)),
            rfc3339(ack.at_us),
            about.trim().to_owned(),
        ]);
    }
    output::line(&table.to_string())?;
    Ok(Exit::Yes)
}

/// `decisions`.
pub async fn decisions(cli: &Cli, args: &DecisionsArgs) -> Result<Exit, CliError> {
    let config = setup::config(cli)?;
    let model = match &args.model {
        Some(name) => Some(setup::model(&config, Some(name))?.id.clone()),
        None => None,
    };
    let filter = decision_filter(args, model)?;
    let store = setup::store(&config).await?;
    let page = store.decisions_like(&filter, args.limit as usize, None).await.map_err(CliError::failed)?;
    store.close().await;
    if cli.json {
        output::json(&json!({"items": page.items, "next": page.next}))?;
        return Ok(Exit::Yes);
    }
    for d in &page.items {
        output::line(&format!(
            "{}  {}  {}  {} -> {}\n    {}",
            rfc3339(d.at_us),
            d.model,
            d.endpoint,
            d.from,
            d.to,
            d.reason
        ))?;
    }
    Ok(Exit::Yes)
}

fn decision_filter(args: &DecisionsArgs, model: Option<ModelId>) -> Result<DecisionFilter, CliError> {
    let kind = match args.kind.as_deref() {
        None => None,
        Some(name) => Some(DecisionKind::by_name(name).ok_or_else(|| {
            let known = DecisionKind::ALL.map(DecisionKind::name);
            let near = nearest(name, known).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            CliError::Usage(format!("--kind {name:?} is not known (known: {}){near}", known.join(", ")))
        })?),
    };
    let endpoint = args
        .endpoint
        .as_ref()
        .map(|text| EndpointId::new(text).map_err(|e| CliError::Usage(format!("--endpoint {text:?}: {e}"))));
    let capability = args
        .capability
        .as_ref()
        .map(|text| Capability::new(text).map_err(|e| CliError::Usage(format!("--capability {text:?}: {e}"))));
    Ok(DecisionFilter { model, endpoint: endpoint.transpose()?, capability: capability.transpose()?, kind })
}

/// `sweeps`.
pub async fn sweeps(cli: &Cli, args: &SweepsArgs) -> Result<Exit, CliError> {
    let config = setup::config(cli)?;
    let model = match &args.model {
        Some(name) => Some(&setup::model(&config, Some(name))?.id),
        None => None,
    };
    let store = setup::store(&config).await?;
    let page = store.sweeps(model, None, args.limit as usize, None).await.map_err(CliError::failed);
    store.close().await;
    let page = page?;
    if cli.json {
        let items: Vec<Value> = page.items.iter().map(views::sweep_summary).collect();
        output::json(&json!({"items": items, "next": page.next}))?;
        return Ok(Exit::Yes);
    }
    let mut table = output::table(&["id", "model", "no.", "kind", "state", "planned", "finished", "spent $", "note"]);
    for sweep in &page.items {
        table.add_row([
            sweep.id.to_string(),
            sweep.model.to_string(),
            sweep.ordinal.to_string(),
            sweep.kind.name().to_owned(),
            sweep.state.name().to_owned(),
            rfc3339(sweep.planned_at_us),
            sweep.finished_at_us.map_or_else(|| "-".to_owned(), rfc3339),
            format!("{:.4}", sweep.spent_nanousd as f64 / 1e9),
            printable(&sweep.note),
        ]);
    }
    output::line(&table.to_string())?;
    Ok(Exit::Yes)
}

/// `attempts`.
pub async fn attempts(cli: &Cli, args: &AttemptsArgs) -> Result<Exit, CliError> {
    let filter = filter(args)?;
    let config = setup::config(cli)?;
    let store = setup::store(&config).await?;
    let page = page_of_attempts(&config, &store, args, filter).await;
    store.close().await;
    let page = page?;
    if cli.json {
        let items: Vec<Value> = page.items.iter().map(views::attempt_summary).collect();
        output::json(&json!({"items": items, "next": page.next}))?;
        return Ok(Exit::Yes);
    }
    let mut table = output::table(&["id", "started", "endpoint", "suite", "case", "verdict", "explanation"]);
    for a in &page.items {
        let a = &a.attempt;
        table.add_row([
            a.id.to_string(),
            rfc3339(a.started_at_us),
            a.key.endpoint.to_string(),
            a.key.suite.to_string(),
            a.key.case.to_string(),
            a.judgement.verdict.to_string(),
            a.judgement.explanation.chars().take(100).collect(),
        ]);
    }
    output::line(&table.to_string())?;
    Ok(Exit::Yes)
}

/// The attempts, when somebody knows the endpoint and the suite.
async fn page_of_attempts(
    config: &Config,
    store: &Store,
    args: &AttemptsArgs,
    mut filter: AttemptFilter,
) -> Result<Page<StoredAttempt>, CliError> {
    if let Some(text) = &args.endpoint {
        filter.endpoint = Some(names::endpoint(config, store, text).await?);
    }
    if let Some(text) = &args.suite {
        filter.suite = Some(names::suite(config, store, text).await?);
    }
    store.attempts(&filter, args.limit as usize, None).await.map_err(CliError::failed)
}

/// The filters that say by themselves whether they can be meant.
fn filter(args: &AttemptsArgs) -> Result<AttemptFilter, CliError> {
    let sweep = match &args.sweep {
        None => None,
        Some(text) => Some(text.parse::<SweepId>().map_err(|e| CliError::Usage(format!("--sweep {text:?}: {e}")))?),
    };
    let fault = match &args.fault {
        None => None,
        Some(text) => Some(text.parse::<Fault>().map_err(|e| {
            let names = Fault::ALL.iter().map(|f| f.name()).collect::<Vec<_>>().join(", ");
            CliError::Usage(format!("--fault: {e} (known: {names})"))
        })?),
    };
    if let Some(verdict) = &args.verdict
        && !["pass", "fail", "unscored"].contains(&verdict.as_str())
    {
        return Err(CliError::Usage(format!("--verdict {verdict:?}: pass, fail or unscored")));
    }
    Ok(AttemptFilter { sweep, fault, verdict: args.verdict.clone(), ..AttemptFilter::default() })
}

/// `attempt ID`.
pub async fn attempt(cli: &Cli, args: &AttemptArgs) -> Result<Exit, CliError> {
    let id = args.id.parse().map_err(|e| CliError::Usage(format!("attempt id {:?}: {e}", args.id)))?;
    let config = setup::config(cli)?;
    let store = setup::store(&config).await?;
    let found = load(&store, id).await;
    let votes = match &found {
        Ok(Some(stored)) => store.votes(&stored.attempt.key).await.map_err(CliError::failed),
        _ => Ok(Vec::new()),
    };
    store.close().await;
    let (found, votes) = (found?, votes?);
    let Some(stored) = found else {
        output::note(&format!("no attempt {id} is stored; `exactod attempts` lists them"));
        return Ok(Exit::No);
    };
    if args.raw {
        return match &stored.attempt.transcript {
            Some(t) => output::raw(&t.response).map(|()| Exit::Yes),
            None => {
                output::note(no_transcript(&stored.attempt));
                Ok(Exit::No)
            }
        };
    }
    if args.curl {
        return match views::curl_of(&stored, &config.models) {
            Some(curl) => output::line(&curl).map(|()| Exit::Yes),
            None => {
                output::note(match &stored.attempt.transcript {
                    None => no_transcript(&stored.attempt),
                    Some(_) => "its endpoint is not configured any more",
                });
                Ok(Exit::No)
            }
        };
    }
    if cli.json {
        output::json(&views::attempt_detail(&stored, &votes, &config.models))?;
    } else {
        show(&stored.attempt, &votes)?;
    }
    Ok(Exit::Yes)
}

/// Why there is nothing to show of what was sent and received.
fn no_transcript(a: &Attempt) -> &'static str {
    match a.was_asked() {
        true => "its transcript was pruned",
        false => "nothing was sent, so there is no transcript: the explanation says why",
    }
}

/// For people: what it was and came to, then what was sent and received.
fn show(a: &Attempt, votes: &[Exchange]) -> Result<(), CliError> {
    let words = |faults: &[Fault]| faults.iter().map(|f| f.name()).collect::<Vec<_>>().join(", ");
    let number = |n: Option<u64>| n.map_or_else(|| "-".to_owned(), |n| n.to_string());
    let seconds = |us: i64| format!("{:.3} s", us as f64 / 1e6);
    let tried = |t: &Try| t.status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
    let mut table = output::table(&["attempt", &a.id.to_string()]);
    table.add_row(["started", &rfc3339(a.started_at_us)]);
    table.add_row(["sweep", &a.key.sweep.to_string()]);
    table.add_row(["endpoint", a.key.endpoint.as_str()]);
    table.add_row(["case", &format!("{} / {}, repeat {}", a.key.suite, a.key.case, a.key.epoch)]);
    table.add_row(["verdict", &a.judgement.verdict.to_string()]);
    table.add_row(["explanation", &printable(&a.judgement.explanation)]);
    if !a.judgement.secondary.is_empty() {
        table.add_row(["also", &words(&a.judgement.secondary)]);
    }
    for result in &a.judgement.scorers {
        let word = if result.passed { "passed" } else { "failed" };
        let reason = [result.error_type.as_deref().unwrap_or_default(), &result.reason].join(" ");
        let row = format!("{word} with {:.3} {}", result.value, printable(&reason));
        table.add_row([format!("scorer {}", result.kind).as_str(), row.trim_end()]);
    }
    table.add_row(["tries", &a.tries.iter().map(tried).collect::<Vec<_>>().join(", ")]);
    table.add_row(["first token, all", &format!("{}, {}", a.ttft_us.map_or("-".into(), seconds), seconds(a.total_us))]);
    table.add_row(["tokens in, out", &format!("{}, {}", number(a.usage.tokens_in), number(a.usage.tokens_out))]);
    table.add_row(["cost", &format!("${:.6}", a.cost_nanousd as f64 / 1e9)]);
    output::line(&table.to_string())?;
    let Some(transcript) = &a.transcript else { return output::line(no_transcript(a)) };
    let request = serde_json::from_slice::<Value>(&transcript.request).and_then(|v| serde_json::to_string_pretty(&v));
    let request = request.unwrap_or_else(|_| String::from_utf8_lossy(&transcript.request).into_owned());
    let answer = String::from_utf8_lossy(&transcript.response);
    output::line(&format!("\nrequest\n{}\n\nanswer\n{}", printable(&request), printable(&answer)))?;
    for vote in votes {
        let said = String::from_utf8_lossy(&vote.transcript.response);
        output::line(&format!("\n{} (${:.6})\n{}", vote.part, vote.cost_nanousd as f64 / 1e9, printable(&said)))?;
    }
    Ok(())
}

/// A provider's text must not command the terminal; `--raw` gives it as it is.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && !matches!(c, '\n' | '\t') { '\u{fffd}' } else { c }).collect()
}

async fn load(store: &Store, id: crate::domain::AttemptId) -> Result<Option<crate::store::StoredAttempt>, CliError> {
    store.attempt(id).await.map_err(CliError::failed)
}
