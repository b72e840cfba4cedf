//! Operators' orders, from the command line and the API: carried out on the store with whatever else works on it. A
//! running daemon follows within [`super::follow::FOLLOW_EVERY`].

use std::sync::Arc;

use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;

use super::runtime::Runtime;
use super::steps;
use super::sweeper::{SweepError, Sweeper};
use crate::api::{Operators, Refusal, Ruling};
use crate::curation::{self, Act, Input, Refused, Stepped};
use crate::domain::{Allowlist, ModelId, Order};

/// Carries out an order.
///
/// # Errors
/// [`Refusal`]; nothing was changed then.
pub async fn operate(sweeper: &Sweeper, runtime: &Runtime, model: &ModelId, order: &Order) -> Result<Ruling, Refusal> {
    for _ in 0..steps::TRIES_MAX {
        match once(sweeper, runtime, model, order).await {
            Ok(ruling) => return ruling,
            overtaken if steps::was_overtaken(&overtaken) => {}
            Err(SweepError::Store(error)) if error.is_passing() => return Err(Refusal::NotNow(error.to_string())),
            Err(error) => return Err(Refusal::Failed(error.to_string())),
        }
    }
    Err(Refusal::NotNow("other processes kept changing the model's state: try again".to_owned()))
}

async fn once(
    sweeper: &Sweeper,
    runtime: &Runtime,
    model: &ModelId,
    order: &Order,
) -> Result<Result<Ruling, Refusal>, SweepError> {
    let Some(configured) = runtime.models.get(model) else { return Ok(Err(Refusal::UnknownModel)) };
    let at_us = sweeper.clock.now_us();
    let base = steps::base(&sweeper.store, model).await?;
    let setting = steps::setting(runtime, configured);
    let record = steps::record(sweeper, configured, Act::Operator { order: order.clone() }, at_us).await?;
    let input = Input { at_us, setting: &setting, record: &record, sweep: None };
    let stepped = match curation::step(&base, &input) {
        Ok(stepped) => stepped,
        Err(Refused::UnknownEndpoint(_)) => return Ok(Err(Refusal::UnknownEndpoint)),
        Err(refused @ Refused::NotSetAside(_)) => return Ok(Err(Refusal::Failed(refused.to_string()))),
        Err(refused @ Refused::NothingHeld) => return Ok(Err(Refusal::NothingHeld(refused.to_string()))),
        Err(refused @ Refused::AlreadySo(_)) => {
            let list = base.list.as_ref();
            return Ok(Ok(ruling(model, order, None, list, refused.to_string())));
        }
    };
    let commit = steps::commit_of(sweeper, &base, (&setting, &record), &stepped, at_us).await?;
    sweeper.store.commit_curation(model, at_us, &commit).await?;
    steps::announce(sweeper, model, &stepped).await;
    let list = stepped.draft.as_ref().map(|d| &d.allowlist).or(base.list.as_ref());
    // What is said of the model's own list; an acknowledgement may concern those of capabilities alone.
    let own = stepped.decisions.iter().rfind(|d| d.capability.is_none()).or(stepped.decisions.last());
    let message = own.map(|d| d.reason.clone()).unwrap_or_default();
    Ok(Ok(ruling(model, order, Some(&stepped), list, message)))
}

fn ruling(
    model: &ModelId,
    order: &Order,
    stepped: Option<&Stepped>,
    list: Option<&Allowlist>,
    message: String,
) -> Ruling {
    Ruling {
        model: model.clone(),
        verb: order.verb,
        changed: stepped.is_some(),
        message,
        decisions: stepped.map(|s| s.decisions.clone()).unwrap_or_default(),
        published: stepped.is_some_and(|s| s.draft.is_some()),
        list: list.cloned(),
    }
}

/// The orders that the API takes.
pub(super) struct Desk {
    pub(super) sweeper: Arc<Sweeper>,
    pub(super) runtime: Arc<ArcSwap<Runtime>>,
}

impl Operators for Desk {
    fn act(&self, model: ModelId, order: Order) -> BoxFuture<'_, Result<Ruling, Refusal>> {
        Box::pin(async move { operate(&self.sweeper, &self.runtime.load_full(), &model, &order).await })
    }
}
