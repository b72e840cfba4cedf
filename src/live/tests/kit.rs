//! Two models, four endpoints, and records of them.

use serde_json::{Value, json};

use crate::domain::{Endpoint, EndpointId, Micros, ModelId, ProviderId};
use crate::live::{Directory, Door, Format, Intake, ModelNames, Named, Place, PlaceId, Reply, TimeWindow};

pub const NOW: Micros = 1_790_000_000_000_000;
pub const MINUTE: i64 = 60_000_000;

pub fn endpoint(id: &str, provider: &str, upstream: &str, litellm: Option<&str>) -> Endpoint {
    Endpoint {
        id: EndpointId::new(id).unwrap(),
        model: ModelId::new("lab/m").unwrap(),
        provider: ProviderId::new(provider).unwrap(),
        upstream_model: upstream.to_owned(),
        tag: None,
        price: None,
        slugs: litellm.map(|name| ("litellm".to_owned(), name.to_owned())).into_iter().collect(),
        served_by: None,
    }
}

pub struct Scene {
    pub intake: Intake,
    pub directory: Directory,
}

impl Scene {
    pub fn new() -> Scene {
        let intake = Intake::new(7);
        let (lab, other) = (ModelId::new("lab/m").unwrap(), ModelId::new("lab/other").unwrap());
        let of_lab = [
            endpoint("one/fp8", "one", "m-large", Some("prov1")),
            endpoint("two", "two", "m-large", Some("prov2")),
            endpoint("two/eu", "two", "m-eu", None),
        ];
        let of_other = [endpoint("one", "one", "o", None)];
        let url = ["https://api.one.example/v1", "https://api.two.example", "https://eu.two.example:8443/v1"];
        let models = [
            ModelNames { id: &lab, names: vec!["kimi", "m:exacto"], endpoints: of_lab.iter().zip(url).collect() },
            ModelNames { id: &other, names: vec![], endpoints: of_other.iter().zip(url).collect() },
        ];
        let directory = intake.directory(&models);
        Scene { intake, directory }
    }

    pub fn place(&self, model: &str, named: &[Named<'_>]) -> PlaceId {
        self.directory.find(model, named)
    }

    /// `model/endpoint`, or a dash for what is not known.
    pub fn found(&self, model: &str, named: &[Named<'_>]) -> String {
        let Place { model, endpoint } = self.intake.place(self.place(model, named)).unwrap();
        let endpoint = endpoint.map_or("-".to_owned(), |e| e.to_string());
        format!("{} {endpoint}", model.map_or("-".to_owned(), |m| m.to_string()))
    }

    pub fn take(&self, format: Format, body: &[u8]) -> Reply {
        self.take_at(NOW, "gateway", format, body)
    }

    pub fn take_at(&self, now_us: Micros, source: &str, format: Format, body: &[u8]) -> Reply {
        let window = TimeWindow::live(now_us);
        let mut door = Door::new(&self.intake, &self.directory, source, (format, window));
        door.push(body);
        door.end()
    }

    /// All that was counted of an endpoint, in all minutes and strata.
    pub fn counted(&self, endpoint: &str) -> crate::live::Cell {
        let mut all = crate::live::Cell::default();
        let rows = self.intake.harvest();
        self.intake.put_back(&rows);
        let of = |row: &&crate::live::Row| {
            row.width_s == 60 && row.place.endpoint.as_ref().map_or("", |e| e.as_str()) == endpoint
        };
        for row in rows.iter().filter(of) {
            all.merge(&crate::live::Cell::decode(&row.bytes).unwrap());
        }
        all
    }
}

/// A record of now, with some fields set otherwise.
pub fn record(id: &str, other: Value) -> Value {
    let mut record = json!({
        "v": 1, "id": id, "ts": crate::clock::rfc3339(NOW), "model": "kimi", "provider": "prov2", "source": "eu",
        "ok": true, "error_class": null, "http_status": 200, "tools_offered": 3, "tool_calls": 1,
        "tool_call_valid": true, "invalid_reason": null, "finish_reason": "tool_calls", "ttft_ms": 210,
        "latency_ms": 900, "input_tokens": 700, "output_tokens": 50, "cost_usd": 0.0004, "attempt": 1, "stream": true
    });
    record.as_object_mut().unwrap().extend(other.as_object().unwrap().clone());
    record
}

pub fn lines(records: &[Value]) -> Vec<u8> {
    records.iter().map(|r| format!("{r}\n")).collect::<String>().into_bytes()
}
