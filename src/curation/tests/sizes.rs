//! What a state takes in the store.

use super::world::*;
use crate::curation::{Form, decode, encode};
use crate::domain::Standing;

/// Attempts of a decided endpoint in a year: four sweeps of 25 cases a day.
const ATTEMPTS_A_YEAR: usize = 4 * 25 * 365;

/// Bytes by endpoint after a year's attempts at a suite of so many cases, of them all decided before.
fn bytes(endpoints: usize, cases: u32) -> f64 {
    let names: Vec<String> = (0..endpoints).map(|i| format!("provider-{i:02}/bf16")).collect();
    let ids: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut world = World::new(&ids, &[("tool-use", cases)]);
    // As many attempts in fewer sweeps.
    world.policy.cases.standard = cases;
    world.policy.cases.burst = cases;
    world.policy.cases.unknown = cases;
    let answer = |_: &Ask<'_>, dice: &mut Dice| scored(dice.unit() < 0.98);
    world.sweep_until(40, answer, |w, _| ids.iter().all(|id| w.standing(id) == Standing::Admitted));
    (0..ATTEMPTS_A_YEAR / cases as usize).for_each(|_| drop(world.sweep(answer)));
    let written = encode(&world.state);
    assert_eq!(decode(&written).as_ref(), Ok(&world.state));
    assert_eq!(world.state.form, Form::NEWEST);
    written.len() as f64 / endpoints as f64
}

#[test]
fn a_year_of_scores_takes_less_than_a_kilobyte_by_endpoint_and_suite() {
    let sizes = [bytes(10, 120), bytes(10, 200), bytes(20, 200), bytes(40, 200)];
    eprintln!("bytes by endpoint: {sizes:?}");
    assert!(sizes.iter().all(|bytes| *bytes <= 1024.0), "{sizes:?}");
}
