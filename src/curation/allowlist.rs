//! The next document of a model (statistics, 7.3 and 7.4; gateways, A).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::clock::rfc3339;
use crate::domain::allowlist::ALLOWLIST_SCHEMA;
use crate::domain::live::Quarantined;
use crate::domain::policy::Undecided;
use crate::domain::{
    Allowlist, AllowlistMode, Endpoint, EndpointId, ExcludedEntry, ListedEntry, Micros, Override, Policy, Revision,
    Standing,
};

use super::decision::{AlarmKind, AlarmNote};
use super::history::Record;
use super::ranking::{Figures, Listed, Ranker, Tier};
use super::state::{EndpointState, ModelState};

/// How long a document is valid, in microseconds: 24 hours. It is issued anew at half of that.
pub const VALIDITY_US: i64 = 24 * 3600 * 1_000_000;

/// How far clocks may disagree, in microseconds: 5 minutes. A clock that goes back by more is told of.
pub const CLOCK_TOLERANCE_US: i64 = 5 * 60 * 1_000_000;

/// A document to publish.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// The document, with the version after that of the one in force.
    pub allowlist: Allowlist,
    /// Something changed in it; else it only renews the validity.
    pub changed: bool,
}

/// Drafts the next document. `None` when nothing in it changed and less than half of its validity has passed, or when
/// no endpoint is in service.
///
/// `endpoints` in the order of the configuration; `figures` feed `policy.rank_by`. The list never falls below
/// `min(policy.min_providers, endpoints in service)` and is never empty.
#[must_use]
pub fn allowlist(
    state: &ModelState,
    policy: &Policy,
    endpoints: &[Endpoint],
    prev: Option<&Allowlist>,
    now_us: Micros,
    figures: &BTreeMap<EndpointId, Figures>,
) -> Option<Draft> {
    issue(state, policy, endpoints, prev, now_us, Seen { figures, overlay: &[] }, None)
}

/// What else than the state a document is drafted from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'a> {
    /// What `policy.rank_by` orders by.
    pub figures: &'a BTreeMap<EndpointId, Figures>,
    /// Endpoints that live traffic keeps off the list.
    pub overlay: &'a [Quarantined],
}

impl<'a> From<&'a Record> for Seen<'a> {
    fn from(record: &'a Record) -> Self {
        Seen { figures: &record.figures, overlay: &record.overlay }
    }
}

/// As [`allowlist()`]. `above`: a revision that consumers have seen though the store has not; the document is issued
/// anew, changed or not, with a later one.
#[must_use]
pub(super) fn issue(
    state: &ModelState,
    policy: &Policy,
    endpoints: &[Endpoint],
    prev: Option<&Allowlist>,
    now_us: Micros,
    seen: Seen<'_>,
    above: Option<Revision>,
) -> Option<Draft> {
    let Seen { figures, overlay } = seen;
    let overlay: Vec<&Quarantined> = overlay.iter().filter(|entry| entry.until_us > now_us).collect();
    let list = Listing { state, policy, endpoints, prev, overlay };
    let model = endpoints.first()?.model.to_string();
    let (mode, listed) = list.choose()?;
    let providers = match (mode, prev) {
        (AllowlistMode::Frozen, Some(prev)) if state.frozen.is_some() || list.nobody_in_service() => {
            list.verbatim(prev, listed)
        }
        _ => Ranker { state, policy, figures, prev }.rank(listed),
    };
    let excluded = list.excluded(&providers);
    let changed =
        prev.is_none_or(|p| p.mode != mode || p.model != model || p.providers != providers || p.excluded != excluded);
    if above.is_none() && !changed && prev.is_some_and(|p| is_fresh(p, now_us)) {
        return None;
    }
    Some(Draft {
        allowlist: Allowlist {
            schema: ALLOWLIST_SCHEMA.to_owned(),
            model,
            capability: None,
            version: prev.map_or(0, |p| p.version).max(above.unwrap_or(0)) + 1,
            issued_at: rfc3339(now_us),
            expires_at: rfc3339(now_us.saturating_add(VALIDITY_US)),
            mode,
            providers,
            excluded,
        },
        changed,
    })
}

/// Less than half of the validity has passed. A document with an unreadable time is not fresh, nor is one of the future:
/// the clock has gone back since, and the document would be valid for too long.
fn is_fresh(list: &Allowlist, now_us: Micros) -> bool {
    chrono::DateTime::parse_from_rfc3339(&list.issued_at).is_ok_and(|issued| {
        let age_us = now_us.saturating_sub(issued.timestamp_micros());
        (-CLOCK_TOLERANCE_US..VALIDITY_US / 2).contains(&age_us)
    })
}

/// The alarm of a list that a guard holds; `None` when it is not held.
#[must_use]
pub fn frozen_alarm(state: &ModelState, list: &Allowlist) -> Option<AlarmNote> {
    let in_service = state.endpoints.values().any(EndpointState::is_in_service);
    let why = match (&state.frozen, list.mode) {
        (Some(freeze), _) => freeze.reason.clone(),
        (None, AllowlistMode::Frozen) if !in_service => {
            "every endpoint is banned, and a list is never empty; unban one, or configure another".to_owned()
        }
        (None, AllowlistMode::Frozen) => {
            "the standings would leave fewer endpoints than min_providers; the last good list stays".to_owned()
        }
        (None, AllowlistMode::Normal | AllowlistMode::Bootstrap) => return None,
    };
    Some(AlarmNote { kind: AlarmKind::Frozen, endpoint: None, message: format!("the list is held: {why}") })
}

/// The tier of a pinned endpoint, as written in the document.
const PINNED: &str = "pinned";

struct Listing<'a> {
    state: &'a ModelState,
    policy: &'a Policy,
    endpoints: &'a [Endpoint],
    prev: Option<&'a Allowlist>,
    overlay: Vec<&'a Quarantined>,
}

impl<'a> Listing<'a> {
    /// Endpoints in service, in configuration order.
    fn in_service(&self) -> impl Iterator<Item = (&'a Endpoint, &'a EndpointState)> {
        let state = self.state;
        self.endpoints.iter().filter_map(|e| Some((e, state.endpoints.get(&e.id)?))).filter(|(_, s)| s.is_in_service())
    }

    fn nobody_in_service(&self) -> bool {
        self.in_service().next().is_none()
    }

    fn choose(&self) -> Option<(AllowlistMode, Vec<Listed<'a>>)> {
        let floor = self.in_service().count().min(self.policy.min_providers as usize);
        if floor == 0 {
            let kept = self.banned_on_the_list();
            return (!kept.is_empty()).then_some((AllowlistMode::Frozen, kept));
        }
        let bootstrap = !self.state.ever_admitted();
        let wanted: Vec<Listed<'a>> =
            self.in_service().filter_map(|(e, s)| self.by_standing(e, s, bootstrap)).collect();
        if self.state.frozen.is_some() && self.prev.is_some() {
            let pinned = wanted.into_iter().filter(|l| l.label == PINNED).collect();
            return Some((AllowlistMode::Frozen, self.hold(pinned, floor)));
        }
        Some(if wanted.len() < floor {
            (AllowlistMode::Frozen, self.hold(wanted, floor))
        } else if self.state.frozen.is_some() {
            (AllowlistMode::Frozen, wanted)
        } else if bootstrap {
            (AllowlistMode::Bootstrap, self.without_quarantined(wanted, floor))
        } else {
            (AllowlistMode::Normal, self.without_quarantined(wanted, floor))
        })
    }

    /// Without those that live traffic keeps off, the one longest in quarantine first, as long as enough are left.
    fn without_quarantined(&self, mut wanted: Vec<Listed<'a>>, floor: usize) -> Vec<Listed<'a>> {
        for entry in &self.overlay {
            let at = wanted.iter().position(|l| l.endpoint.id == entry.endpoint && l.label != PINNED);
            if let Some(at) = at.filter(|_| wanted.len() > floor) {
                wanted.remove(at);
            }
        }
        wanted
    }

    /// Everybody is banned: what stands on the last list and is still configured stays there.
    fn banned_on_the_list(&self) -> Vec<Listed<'a>> {
        let stays = |e: &&Endpoint| {
            self.state.endpoints.get(&e.id).is_some_and(|s| s.configured)
                && self.prev.is_some_and(|p| p.providers.iter().any(|entry| entry.id == e.id))
        };
        let held = |endpoint| Listed { endpoint, tier: Tier::Held, label: "banned".to_owned() };
        self.endpoints.iter().filter(stays).map(held).collect()
    }

    /// Whether an endpoint is listed by its own standing.
    fn by_standing(&self, endpoint: &'a Endpoint, state: &EndpointState, bootstrap: bool) -> Option<Listed<'a>> {
        let include = bootstrap || state.listed_through_change || self.policy.undecided == Undecided::Include;
        let tier = match state.standing {
            _ if state.override_ == Some(Override::Pinned) => Tier::First,
            Standing::Admitted => Tier::First,
            Standing::Suspect => Tier::Suspect,
            Standing::Provisional if include => Tier::Provisional,
            Standing::Unknown if bootstrap => Tier::Unknown,
            Standing::Provisional | Standing::Unknown | Standing::Excluded => return None,
        };
        Some(Listed { endpoint, tier, label: label(state).to_owned() })
    }

    /// Keeps the last good list: whoever stood on it stays, together with those the standings list. An endpoint that was
    /// never admitted and stands Excluded by now has no claim to a place. Where that leaves too few (no list yet, or
    /// endpoints went out of service), the best of the rest fill up.
    fn hold(&self, mut kept: Vec<Listed<'a>>, floor: usize) -> Vec<Listed<'a>> {
        let entry = |id: &EndpointId| self.prev.and_then(|p| p.providers.iter().find(|e| e.id == *id));
        let spare = |endpoint: &'a Endpoint, state: &EndpointState| Listed {
            endpoint,
            tier: match state.standing {
                Standing::Excluded => Tier::Held,
                Standing::Unknown => Tier::Unknown,
                Standing::Provisional => Tier::Provisional,
                Standing::Suspect => Tier::Suspect,
                Standing::Admitted => Tier::First,
            },
            label: match (state.standing, entry(&endpoint.id)) {
                (Standing::Excluded, Some(entry)) => entry.tier.clone(),
                (Standing::Excluded, None) => Standing::Provisional.tier().to_owned(),
                _ => label(state).to_owned(),
            },
        };
        let listed = |kept: &[Listed<'a>], id: &EndpointId| kept.iter().any(|l| l.endpoint.id == *id);
        for (endpoint, state) in self.in_service() {
            let claims = entry(&endpoint.id).is_some_and(|entry| {
                state.standing != Standing::Excluded || matches!(entry.tier.as_str(), "admitted" | "suspect" | "pinned")
            });
            if claims && !listed(&kept, &endpoint.id) {
                kept.push(spare(endpoint, state));
            }
        }
        let mut rest: Vec<(&Endpoint, &EndpointState)> =
            self.in_service().filter(|(e, _)| !listed(&kept, &e.id)).collect();
        rest.sort_by(|(a, x), (b, y)| {
            let excluded = |s: &EndpointState| s.standing == Standing::Excluded;
            let estimate = |e: &Endpoint| self.state.ranking(self.policy, &e.id);
            excluded(x).cmp(&excluded(y)).then(estimate(b).total_cmp(&estimate(a)))
        });
        let short = floor.saturating_sub(kept.len());
        kept.extend(rest.into_iter().take(short).map(|(e, s)| spare(e, s)));
        kept
    }

    /// The entries of the last list as they were, without those that went out of service, and with those that were
    /// pinned or had to fill up at the end.
    fn verbatim(&self, prev: &Allowlist, held: Vec<Listed<'a>>) -> Vec<ListedEntry> {
        let mut entries: Vec<ListedEntry> =
            prev.providers.iter().filter(|e| held.iter().any(|l| l.endpoint.id == e.id)).cloned().collect();
        for l in held {
            if !entries.iter().any(|e| e.id == l.endpoint.id) {
                let slugs = l.endpoint.slugs.clone();
                let weight = if l.label == PINNED { 100 } else { 1 };
                entries.push(ListedEntry { id: l.endpoint.id.clone(), rank: 0, weight, tier: l.label, slugs });
            }
        }
        for (entry, rank) in entries.iter_mut().zip(1u32..) {
            entry.rank = rank;
        }
        entries
    }

    /// Excluded, Banned and quarantined endpoints that the list does not hold, in configuration order.
    fn excluded(&self, providers: &[ListedEntry]) -> Vec<ExcludedEntry> {
        self.endpoints
            .iter()
            .filter_map(|e| Some((e, self.state.endpoints.get(&e.id).filter(|s| s.configured)?)))
            .filter(|(e, _)| !providers.iter().any(|p| p.id == e.id))
            .filter_map(|(e, s)| {
                let (reason, since_us) = match (s.override_, s.standing) {
                    (Some(Override::Banned), _) => ("banned by an operator".to_owned(), s.since_us),
                    (_, Standing::Excluded) => (s.last_reason.clone(), s.since_us),
                    _ => {
                        let entry = self.overlay.iter().find(|entry| entry.endpoint == e.id)?;
                        (entry.reason.clone(), entry.since_us)
                    }
                };
                Some(ExcludedEntry { id: e.id.clone(), reason, since: rfc3339(since_us) })
            })
            .collect()
    }
}

fn label(state: &EndpointState) -> &'static str {
    match state.override_ {
        Some(Override::Pinned) => PINNED,
        _ => state.standing.tier(),
    }
}

/// The document's bytes: JSON in the order of the fields, without white space. Equal documents give equal bytes.
#[must_use]
pub fn render(list: &Allowlist) -> String {
    let Allowlist { schema, model, capability, version, issued_at, expires_at, mode, providers, excluded } = list;
    let mode = match mode {
        AllowlistMode::Normal => "normal",
        AllowlistMode::Frozen => "frozen",
        AllowlistMode::Bootstrap => "bootstrap",
    };
    let providers: Vec<Value> = providers
        .iter()
        .map(|ListedEntry { id, rank, weight, tier, slugs }| {
            let slugs: Map<String, Value> = slugs.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
            json!({"id": id.as_str(), "rank": rank, "weight": weight, "tier": tier, "slugs": slugs})
        })
        .collect();
    let excluded: Vec<Value> = excluded
        .iter()
        .map(|ExcludedEntry { id, reason, since }| json!({"id": id.as_str(), "reason": reason, "since": since}))
        .collect();
    let mut document = Map::new();
    document.insert("schema".to_owned(), json!(schema));
    document.insert("model".to_owned(), json!(model));
    if let Some(capability) = capability {
        document.insert("capability".to_owned(), json!(capability));
    }
    document.insert("version".to_owned(), json!(version));
    document.insert("issued_at".to_owned(), json!(issued_at));
    document.insert("expires_at".to_owned(), json!(expires_at));
    document.insert("mode".to_owned(), json!(mode));
    document.insert("providers".to_owned(), Value::Array(providers));
    document.insert("excluded".to_owned(), Value::Array(excluded));
    Value::Object(document).to_string()
}
