//! A gate before a simulated fleet: lets a number of answers through and holds the others, so that a test can stop a
//! sweep at a known point without looking at the time.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::response::Response;
use exactod::sim::RunningSim;
use http::header::CONTENT_TYPE;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// One gate for every endpoint of a fleet.
pub struct Gate {
    /// Names and base URLs, for the config.
    pub providers: Vec<(String, String)>,
    permits: Vec<Arc<Semaphore>>,
}

impl Gate {
    /// Gates that let `answers` answers of each endpoint through.
    pub async fn before(fleet: &RunningSim, answers: usize) -> Gate {
        let http = client();
        let mut gate = Gate { providers: Vec::new(), permits: Vec::new() };
        for (id, upstream) in fleet.endpoints() {
            let permits = Arc::new(Semaphore::new(answers));
            let listener = TcpListener::bind((IpAddr::V4(Ipv4Addr::LOCALHOST), 0)).await.unwrap();
            gate.providers.push((id.to_string(), format!("http://{}/v1", listener.local_addr().unwrap())));
            gate.permits.push(Arc::clone(&permits));
            let (http, upstream) = (http.clone(), upstream.clone());
            let router = Router::new().fallback(move |request: Request| {
                let (http, upstream, permits) = (http.clone(), upstream.clone(), Arc::clone(&permits));
                async move { forward(&http, &upstream, &permits, request).await }
            });
            tokio::spawn(async move { axum::serve(listener, router).await });
        }
        gate
    }

    /// Holds every answer from now on, until it is opened again.
    pub fn hold(&self) {
        for permits in &self.permits {
            permits.forget_permits(permits.available_permits());
        }
    }

    /// Lets everything through from now on, what is held included.
    pub fn open(&self) {
        for permits in &self.permits {
            permits.add_permits(Semaphore::MAX_PERMITS / 2);
        }
    }
}

/// The endpoint answers at once; its answer waits at the gate.
async fn forward(http: &reqwest::Client, upstream: &str, permits: &Semaphore, request: Request) -> Response {
    let body = to_bytes(request.into_body(), BODY_BYTES_MAX).await.unwrap();
    let request = http.post(format!("{upstream}/chat/completions")).header(CONTENT_TYPE, "application/json").body(body);
    let answer = request.send().await.unwrap();
    let (status, kind) = (answer.status(), answer.headers().get(CONTENT_TYPE).cloned());
    let body = answer.bytes().await.unwrap();
    permits.acquire().await.unwrap().forget();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().extend(kind.map(|kind| (CONTENT_TYPE, kind)));
    response
}

/// An HTTP client for tests.
pub fn client() -> reqwest::Client {
    // An error means that another test has installed one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap()
}
