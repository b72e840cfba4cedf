//! Answers that read many rows (scorecards, series): few are made at once, some wait, the others are sent away; and who
//! asks the same again within seconds gets the answer that was made already.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use axum::response::Response;
use bytes::Bytes;
use serde_json::Value;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::limits::{REPORTS_AGE_MAX, REPORTS_AT_ONCE, REPORTS_KEPT_MAX, REPORTS_WAITING_MAX, RETRY_AFTER_S};
use super::models;
use super::problem::Problem;

/// The gate, and what was made lately.
pub struct Reports {
    permits: Semaphore,
    waiting: AtomicUsize,
    kept: Mutex<BTreeMap<String, (Instant, Bytes)>>,
}

impl Default for Reports {
    fn default() -> Self {
        Reports { permits: Semaphore::new(REPORTS_AT_ONCE), waiting: AtomicUsize::new(0), kept: Mutex::default() }
    }
}

/// Somebody waits; also when the request is given up, until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Reports {
    /// The answer to a question, made by `make` unless it was asked a moment ago. Equal questions have equal answers.
    pub async fn answer(
        &self,
        question: String,
        make: impl Future<Output = Result<Value, Problem>>,
    ) -> Result<Response, Problem> {
        if let Some(body) = self.known(&question) {
            return Ok(models::json_text(body));
        }
        let _permit = self.permit().await?;
        // Whoever held the permit may have asked the same.
        if let Some(body) = self.known(&question) {
            return Ok(models::json_text(body));
        }
        let body = Bytes::from(make.await?.to_string());
        self.keep(question, body.clone());
        Ok(models::json_text(body))
    }

    async fn permit(&self) -> Result<SemaphorePermit<'_>, Problem> {
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.waiting);
        let busy = || {
            Problem::unavailable("busy", "too many requests at once", "too many scorecards and series are asked for")
                .hint(format!("try again in {RETRY_AFTER_S} s, and ask for one at a time"))
        };
        if before >= REPORTS_WAITING_MAX {
            return self.permits.try_acquire().map_err(|_| busy());
        }
        self.permits.acquire().await.map_err(|_| busy())
    }

    fn known(&self, question: &str) -> Option<Bytes> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(question).filter(|(at, _)| at.elapsed() < REPORTS_AGE_MAX).map(|(_, body)| body.clone())
    }

    fn keep(&self, question: String, body: Bytes) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, (at, _)| at.elapsed() < REPORTS_AGE_MAX);
        if kept.len() < REPORTS_KEPT_MAX {
            kept.insert(question, (Instant::now(), body));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;
    use tokio::sync::Barrier;

    use super::*;

    #[tokio::test]
    async fn few_are_made_at_once_some_wait_and_the_rest_are_sent_away() {
        let reports = Arc::new(Reports::default());
        let made = Arc::new(AtomicUsize::new(0));
        let open = Arc::new(Barrier::new(REPORTS_AT_ONCE + 1));
        let tasks: Vec<_> = (0..REPORTS_AT_ONCE + REPORTS_WAITING_MAX)
            .map(|n| {
                let (reports, made, open) = (Arc::clone(&reports), Arc::clone(&made), Arc::clone(&open));
                tokio::spawn(async move {
                    let make = async {
                        if made.fetch_add(1, Ordering::SeqCst) < REPORTS_AT_ONCE {
                            open.wait().await;
                        }
                        Ok(json!(n))
                    };
                    reports.answer(n.to_string(), make).await.is_ok()
                })
            })
            .collect();
        // All have their place once the queue is full.
        while reports.waiting.load(Ordering::Relaxed) < REPORTS_WAITING_MAX {
            tokio::task::yield_now().await;
        }
        assert_eq!(made.load(Ordering::SeqCst), REPORTS_AT_ONCE);
        let refused = reports.answer("one more".to_owned(), async { Ok(json!(null)) }).await;
        assert_eq!(refused.map_err(|p| p.status()).unwrap_err(), 503);
        open.wait().await;
        for task in tasks {
            assert!(task.await.unwrap(), "who waits is served");
        }
        assert_eq!(reports.waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_question_is_answered_once_in_a_while() {
        let reports = Reports::default();
        let made = AtomicUsize::new(0);
        let ask = async |question: &str| {
            let make = async { Ok(json!(made.fetch_add(1, Ordering::SeqCst))) };
            reports.answer(question.to_owned(), make).await.unwrap();
            made.load(Ordering::SeqCst)
        };
        assert_eq!((ask("a").await, ask("a").await, ask("b").await), (1, 1, 2));
        tokio::time::advance(REPORTS_AGE_MAX).await;
        assert_eq!(ask("a").await, 3);
        let failed = reports.answer("c".to_owned(), async { Err(Problem::internal("a test", &"made to fail")) }).await;
        assert!(failed.is_err());
        reports.answer("c".to_owned(), async { Ok(json!(1)) }).await.unwrap();
    }
}
