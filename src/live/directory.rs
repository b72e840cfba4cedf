//! Which endpoint a record is about, by the names that the configuration gives.
//!
//! A name that means two endpoints means none: what cannot be attributed is counted as such and held against nobody.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::domain::{Endpoint, EndpointId, ModelId};

/// What gateways may append to a model's name.
const SUFFIX: &str = ":exacto";

/// The number of a [`Place`] within its [`Intake`](super::Intake).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PlaceId(pub(super) u32);

impl PlaceId {
    /// Neither model nor endpoint is known.
    pub const NOWHERE: PlaceId = PlaceId(0);
}

/// Where an answer came from, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The model.
    pub model: Option<ModelId>,
    /// The endpoint; `None`: unattributed.
    pub endpoint: Option<EndpointId>,
}

/// A name by which a record tells its endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named<'a> {
    /// An endpoint's id, its name in some gateway, or its provider's id.
    Name(&'a str),
    /// The host that was asked, or a URL of it.
    Host(&'a str),
}

impl<'a> Named<'a> {
    /// The name alone.
    #[must_use]
    pub fn text(self) -> &'a str {
        match self {
            Named::Name(text) | Named::Host(text) => text,
        }
    }
}

/// A configured model, as the directory needs it.
#[derive(Debug, Clone)]
pub struct ModelNames<'a> {
    /// Its id.
    pub id: &'a ModelId,
    /// Its other names: aliases, public name, names in gateways.
    pub names: Vec<&'a str>,
    /// Its endpoints, each with the base URL of its provider.
    pub endpoints: Vec<(&'a Endpoint, &'a str)>,
}

/// Names of one model's endpoints. `None` stands for a name that several bear.
#[derive(Debug, Default)]
struct Endpoints {
    unattributed: Option<PlaceId>,
    names: HashMap<String, Option<PlaceId>>,
    hosts: HashMap<String, Option<PlaceId>>,
}

/// Finds places by names.
#[derive(Debug, Default)]
pub struct Directory {
    models: HashMap<String, Option<Arc<Endpoints>>>,
    endpoints: HashSet<PlaceId>,
}

impl Directory {
    /// From the configured models; `number` gives the number of a place.
    #[must_use]
    pub fn new(models: &[ModelNames<'_>], mut number: impl FnMut(Place) -> PlaceId) -> Directory {
        let mut attributed = HashSet::new();
        let mut number = |place: Place| {
            let is_endpoint = place.endpoint.is_some();
            let id = number(place);
            if is_endpoint {
                attributed.insert(id);
            }
            id
        };
        let mut all = HashMap::new();
        let mut weaker: Vec<(String, Arc<Endpoints>)> = Vec::new();
        for model in models {
            let endpoints = Arc::new(Endpoints::new(model, &mut number));
            all.insert(model.id.as_str().to_owned(), Some(Arc::clone(&endpoints)));
            for name in &model.names {
                all.entry((*name).to_owned()).or_insert_with(|| Some(Arc::clone(&endpoints)));
            }
            // What providers call the model: where two models share such a name, it names none.
            let upstream = model.endpoints.iter().map(|(endpoint, _)| endpoint.upstream_model.clone());
            weaker.extend(upstream.map(|name| (name, Arc::clone(&endpoints))));
        }
        let configured: Vec<String> = all.keys().cloned().collect();
        for (name, endpoints) in weaker.into_iter().filter(|(name, _)| !configured.contains(name)) {
            let found = all.entry(name).or_insert_with(|| Some(Arc::clone(&endpoints)));
            if found.as_ref().is_some_and(|other| !Arc::ptr_eq(other, &endpoints)) {
                *found = None;
            }
        }
        Directory { models: all, endpoints: attributed }
    }

    /// Whether a place is an endpoint.
    #[must_use]
    pub fn is_attributed(&self, place: PlaceId) -> bool {
        self.endpoints.contains(&place)
    }

    /// The place of a record: by the model's name, then by the first of the endpoint's names that means one.
    #[must_use]
    pub fn find(&self, model: &str, named: &[Named<'_>]) -> PlaceId {
        let known = |name: &str| self.models.get(name).and_then(Option::as_ref);
        let Some(endpoints) = known(model).or_else(|| known(model.strip_suffix(SUFFIX)?)) else {
            return PlaceId::NOWHERE;
        };
        let by_name = |named: &Named<'_>| match named {
            Named::Name(name) => endpoints.names.get(*name).copied().flatten(),
            Named::Host(host) => endpoints.hosts.get(&host_of(host)?).copied().flatten(),
        };
        named.iter().find_map(by_name).or(endpoints.unattributed).unwrap_or(PlaceId::NOWHERE)
    }
}

impl Endpoints {
    fn new(model: &ModelNames<'_>, number: &mut impl FnMut(Place) -> PlaceId) -> Endpoints {
        let place = |endpoint: Option<EndpointId>| Place { model: Some(model.id.clone()), endpoint };
        let mut out = Endpoints { unattributed: Some(number(place(None))), ..Endpoints::default() };
        let places: Vec<PlaceId> = model.endpoints.iter().map(|(e, _)| number(place(Some(e.id.clone())))).collect();
        let each = || model.endpoints.iter().zip(&places);
        // Stronger names first: a weaker one never takes the place of a stronger.
        out.add(each().map(|((e, _), place)| (e.id.as_str().to_owned(), *place)));
        out.add(each().flat_map(|((e, _), place)| e.slugs.values().map(|slug| (slug.clone(), *place))));
        out.add(each().map(|((e, _), place)| (e.provider.as_str().to_owned(), *place)));
        for ((_, url), place) in each() {
            let Some(host) = host_of(url) else { continue };
            merge(&mut out.hosts, host, *place);
        }
        out
    }

    fn add(&mut self, names: impl Iterator<Item = (String, PlaceId)>) {
        let mut of_rank = HashMap::new();
        names.for_each(|(name, place)| merge(&mut of_rank, name, place));
        for (name, place) in of_rank {
            self.names.entry(name).or_insert(place);
        }
    }
}

fn merge(names: &mut HashMap<String, Option<PlaceId>>, name: String, place: PlaceId) {
    let found = names.entry(name).or_insert(Some(place));
    if *found != Some(place) {
        *found = None;
    }
}

/// Host and port of a URL, or of what is a host already; in lower case, without a port that says nothing.
fn host_of(text: &str) -> Option<String> {
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let url = url::Url::parse(&with_scheme).ok()?;
    let host = url.host_str()?;
    Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}
