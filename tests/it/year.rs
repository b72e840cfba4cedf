//! Whole stories of a daemon, by the code that ships from the scheduler to the board and over HTTP, on a clock of their own:
//! ten days on both databases, random ones, and (slow tier) a year.

use std::collections::BTreeSet;
use std::time::Instant;

use exactod::domain::{EndpointId, Standing, Verb};
use exactod::sim::EndpointSpec;
use proptest::prelude::*;

use crate::days::{Act, Days, Seen, Settled, TICKS_PER_DAY, falls};
use crate::history::FAST_POLICY;
use crate::postgres;
use crate::world::{endpoint, good, weak};

/// Largest state by endpoint and suite, in bytes, with the change alarms' evidence and the suites' own history: the aim.
const STATE_BYTES_MAX: f64 = 1024.0;

/// A story: how many ticks, and what happens before which of them.
type Acts = Vec<(usize, Act)>;

fn on_day(day: usize, act: Act) -> (usize, Act) {
    (day * TICKS_PER_DAY, act)
}

fn order(day: usize, verb: Verb, name: &str) -> (usize, Act) {
    on_day(day, Act::Order(verb, name.to_owned()))
}

fn configure(day: usize, names: &[&str]) -> (usize, Act) {
    on_day(day, Act::Configure(names.iter().map(|name| (*name).to_owned()).collect()))
}

/// Plays a story to its end. What must hold at all times is looked at by [`Days`].
async fn play(days: &mut Days, ticks: usize, acts: &Acts) {
    for tick in 1..ticks {
        let due: Vec<Act> = acts.iter().filter(|(at, _)| *at == tick).map(|(_, act)| act.clone()).collect();
        days.tick(&due).await;
    }
}

// ------------------------------------------------------------------------------------------------- what was seen

/// Days from a day until something holds for an endpoint.
fn days_until(seen: &[Seen], from_day: f64, holds: impl Fn(&Seen) -> bool) -> Option<f64> {
    seen.iter().find(|s| s.day >= from_day && holds(s)).map(|s| s.day - from_day)
}

fn stands(seen: &Seen, name: &str) -> Standing {
    seen.standings.get(&endpoint(name)).copied().unwrap_or(Standing::Unknown)
}

fn is_listed(seen: &Seen, name: &str) -> bool {
    seen.listed.contains(&endpoint(name))
}

/// Days until an endpoint is Excluded after a fall, and until it is Admitted after its end, both within bounds.
fn excluded_and_back(seen: &[Seen], name: &str, (fell, healed): (f64, f64), (out_max, in_max): (f64, f64)) -> [f64; 2] {
    let out = days_until(seen, fell, |s| stands(s, name) == Standing::Excluded).expect("it is excluded");
    assert!(out <= out_max, "{name} is out after {out} days");
    let back = days_until(seen, healed, |s| stands(s, name) == Standing::Admitted).expect("it comes back");
    assert!(back <= in_max, "{name} is back after {back} days");
    let between = |s: &&Seen| s.day >= fell + out && s.day < healed;
    assert!(seen.iter().filter(between).all(|s| stands(s, name) == Standing::Excluded), "{name} does not flap");
    [out, back]
}

/// Endpoints that are never excluded while they are good.
fn never_excluded(seen: &[Seen], names: &[&str]) {
    let wrong: BTreeSet<(String, String)> = seen
        .iter()
        .flat_map(|s| {
            names
                .iter()
                .filter(|name| stands(s, name) == Standing::Excluded)
                .map(|n| (n.to_string(), s.day.to_string()))
        })
        .collect();
    assert!(wrong.is_empty(), "excluded though good: {wrong:?}");
}

fn sane(settled: &Settled, state_bytes_max: f64, bytes_per_attempt_max: f64) {
    assert!(settled.state_bytes <= state_bytes_max, "{settled:?}");
    assert!(settled.bytes_per_attempt <= bytes_per_attempt_max, "{settled:?}");
}

// ---------------------------------------------------------------------------------------------------- ten days

/// On the small scale rows that there are in any number weigh the most.
const BYTES_PER_ATTEMPT_SMALL: f64 = 8192.0;

fn fleet_of_ten_days() -> Vec<EndpointSpec> {
    let fir = falls("fir", 1.0, 0.9, 3.0..6.0);
    vec![good("alder"), good("birch"), good("cedar"), fir, good("iris"), weak("juniper", 0.95)]
}

fn ten_days() -> Acts {
    vec![
        order(1, Verb::Ban, "birch"),
        on_day(2, Act::Restart),
        order(2, Verb::Unban, "birch"),
        order(4, Verb::Pin, "fir"),
        order(5, Verb::Unpin, "fir"),
        configure(5, &["alder", "birch", "cedar", "fir", "iris", "juniper"]),
        on_day(6, Act::Kill),
        on_day(7, Act::ClockBack),
        order(7, Verb::Note, "cedar"),
        configure(8, &["alder", "birch", "cedar", "fir", "iris"]),
        on_day(9, Act::ClockBack),
        on_day(9, Act::Restart),
    ]
}

async fn lives_ten_days(database: Option<String>, further: Acts) {
    let (acts, at_first) = ([ten_days(), further].concat(), ["alder", "birch", "cedar", "fir", "juniper"]);
    let mut days = Days::begin(database, fleet_of_ten_days(), &at_first, 12, FAST_POLICY).await;
    play(&mut days, 10 * TICKS_PER_DAY, &acts).await;
    let (settled, seen) = days.settle().await;
    sane(&settled, STATE_BYTES_MAX, BYTES_PER_ATTEMPT_SMALL);
    never_excluded(&seen, &["alder", "birch", "cedar", "iris", "juniper"]);
    excluded_and_back(&seen, "fir", (3.0, 6.0), (1.0, 3.5));
    let last = seen.last().unwrap();
    let listed: Vec<&str> = last.listed.iter().map(EndpointId::as_str).collect();
    assert_eq!(listed, ["alder", "birch", "cedar", "fir", "iris"]);
    let in_days = |from: f64, to: f64| seen.iter().filter(move |s| s.day >= from && s.day < to);
    assert!(in_days(1.0, 2.0).all(|s| !is_listed(s, "birch")), "banned");
    assert!(in_days(4.0, 5.0).all(|s| is_listed(s, "fir")), "pinned");
    assert!(in_days(5.0, 6.0).all(|s| !is_listed(s, "fir")), "its standing rules again");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_days_of_a_daemon_on_sqlite() {
    let lost = vec![on_day(7, Act::Backup), on_day(8, Act::Restore)];
    lives_ten_days(None, lost).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_days_of_a_daemon_on_postgres() {
    lives_ten_days(Some(postgres::migrated_database().await), Vec::new()).await;
}

// -------------------------------------------------------------------------------------------------- random stories

/// The first and the third always stay, unbanned, and the first stays good: somebody is asked in every sweep.
const NAMES: [&str; 4] = ["alder", "birch", "cedar", "dogwood"];

fn one_of(names: &[&str]) -> impl Strategy<Value = String> + use<> {
    proptest::sample::select(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
}

fn any_act() -> impl Strategy<Value = Act> {
    let verbs = vec![Verb::Pin, Verb::Unpin, Verb::Ban, Verb::Unban, Verb::Reset];
    prop_oneof![
        2 => Just(Act::Restart),
        1 => Just(Act::Kill),
        1 => proptest::sample::subsequence(vec!["birch", "dogwood"], 0..=2).prop_map(|more| {
            Act::Configure(["alder", "cedar"].into_iter().chain(more).map(str::to_owned).collect())
        }),
        3 => (proptest::sample::select(verbs), one_of(&["birch", "dogwood"]))
            .prop_map(|(verb, name)| Act::Order(verb, name)),
        2 => Just(Act::ClockBack),
        4 => (one_of(&["birch", "cedar", "dogwood"]), prop_oneof![Just(0.0), 0.0..1.0f64])
            .prop_map(|(name, share)| Act::Break(name, share)),
    ]
}

/// Acts before up to so many ticks.
fn any_story(ticks: usize) -> impl Strategy<Value = Vec<Vec<Act>>> {
    proptest::collection::vec(proptest::collection::vec(any_act(), 0..3), 3..=ticks)
}

/// Never an empty list, revisions that rise, one sweep a tick, everything stored as it was answered, and the same again
/// byte for byte when it is replayed: [`Days`] looks at all of it.
fn holds_for(story: &[Vec<Act>]) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let fleet = NAMES.map(good).to_vec();
        let mut days = Days::begin(None, fleet, &NAMES, 8, FAST_POLICY).await;
        for acts in story {
            days.tick(acts).await;
        }
        let (settled, _) = days.settle().await;
        assert!(settled.state_bytes <= STATE_BYTES_MAX, "{settled:?}");
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4, max_shrink_iters: 20, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn whatever_befalls_a_daemon_its_list_and_its_history_stay_sound(story in any_story(8)) {
        holds_for(&story);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, max_shrink_iters: 60, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    #[ignore = "slow tier: scripts/test slow"]
    fn slow_whatever_befalls_a_daemon_its_list_and_its_history_stay_sound(story in any_story(24)) {
        holds_for(&story);
    }
}

// ---------------------------------------------------------------------------------------------------------- a year

/// Days of the year.
const YEAR: usize = 365;
/// Cases of its suite: more than any budget.
const CASES: usize = 120;
/// Right answers of a good endpoint.
const BASE: f64 = 0.98;
/// Largest state by endpoint and suite, in bytes, with a year's scores by case: the aim.
const STATE_BYTES_MAX_YEAR: f64 = 1024.0;
/// Two weeks of transcripts and all verdicts: what a year of the database may weigh.
const BYTES_PER_ATTEMPT_YEAR: f64 = 1024.0;

fn fleet_of_a_year() -> Vec<EndpointSpec> {
    let mut fleet: Vec<EndpointSpec> = ["alder", "birch", "cedar", "dogwood"].map(|name| weak(name, BASE)).to_vec();
    fleet.push(weak("elm", BASE - 0.01));
    fleet.push(falls("fir", BASE, 0.20, 60.0..120.0));
    fleet.push(falls("hazel", BASE, 0.05, 100.0..250.0));
    fleet.push(weak("iris", BASE));
    fleet.push(weak("juniper", BASE));
    fleet
}

fn a_year() -> Acts {
    let with_iris = ["alder", "birch", "cedar", "dogwood", "elm", "fir", "hazel", "iris", "juniper"];
    let mut acts = vec![
        order(30, Verb::Ban, "birch"),
        order(33, Verb::Unban, "birch"),
        on_day(40, Act::Restart),
        order(80, Verb::Pin, "fir"),
        order(85, Verb::Unpin, "fir"),
        configure(150, &with_iris),
        on_day(182, Act::Restart),
        configure(200, &with_iris[..8]),
        on_day(220, Act::Kill),
        on_day(240, Act::ClockBack),
        order(240, Verb::Note, "cedar"),
        on_day(270, Act::ClockBack),
        on_day(270, Act::Restart),
        on_day(299, Act::Backup),
        on_day(300, Act::Restore),
    ];
    acts.extend((7..YEAR).step_by(7).map(|day| on_day(day, Act::Prune)));
    acts
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "slow tier: scripts/test slow"]
async fn slow_a_year_through_store_and_scheduler() {
    let (began, cpu) = (Instant::now(), cpu_seconds());
    let at_first = ["alder", "birch", "cedar", "dogwood", "elm", "fir", "hazel", "juniper"];
    let mut days = Days::begin(None, fleet_of_a_year(), &at_first, CASES, "").await;
    play(&mut days, YEAR * TICKS_PER_DAY, &a_year()).await;
    let played = (began.elapsed(), cpu_seconds());
    let (settled, seen) = days.settle().await;

    sane(&settled, STATE_BYTES_MAX_YEAR, BYTES_PER_ATTEMPT_YEAR);
    // Of the day that the restore lost, the last tick was made up for.
    assert_eq!(settled.sweeps as usize, YEAR * TICKS_PER_DAY - (TICKS_PER_DAY - 1));
    assert!(settled.requests <= 400_000, "{settled:?}");
    never_excluded(&seen, &["alder", "birch", "cedar", "dogwood", "elm", "iris", "juniper"]);
    let fir = excluded_and_back(&seen, "fir", (60.0, 120.0), (3.0, 25.0));
    let hazel = excluded_and_back(&seen, "hazel", (100.0, 250.0), (15.0, 25.0));
    let admitted = |name: &str, from: f64| days_until(&seen, from, |s| stands(s, name) == Standing::Admitted);
    let alder = admitted("alder", 0.0).expect("a good endpoint is admitted");
    assert!(alder <= 15.0, "{alder} days");
    // After the cap of cases it is Provisional, and listed, and goes on with 25 cases a sweep.
    let on_list = days_until(&seen, 150.0, |s| is_listed(s, "iris")).expect("a new endpoint is listed");
    let iris = admitted("iris", 150.0).expect("a new endpoint is admitted");
    assert!(on_list <= 15.0 && iris <= 120.0, "{on_list} and {iris} days");
    let banned = |s: &&Seen| s.day >= 30.0 && s.day < 33.0;
    assert!(seen.iter().filter(banned).all(|s| !is_listed(s, "birch")), "banned");
    let pinned = |s: &&Seen| s.day >= 80.0 && s.day < 85.0;
    assert!(seen.iter().filter(pinned).all(|s| is_listed(s, "fir")), "pinned");
    assert!(seen.iter().filter(|s| s.day > 201.0).all(|s| !is_listed(s, "juniper")), "gone");

    tell(&format!(
        "requests {}, sweeps {}, revisions {}, steps {}, decisions {}\n\
         days: good admitted {alder:.1}, new admitted {iris:.1}, 20 points out {:.1} back {:.1}, 5 points out {:.1} back {:.1}, \
         1 point worse admitted {:?}\n\
         state {:.0} bytes by endpoint, database {:.0} bytes by attempt\n\
         played in {:.0} s ({:.0} s of processor time of both sides), looked at in {:.0} s",
        settled.requests,
        settled.sweeps,
        settled.revision,
        settled.replayed.to_step,
        settled.replayed.decisions,
        fir[0],
        fir[1],
        hazel[0],
        hazel[1],
        admitted("elm", 0.0),
        settled.state_bytes,
        settled.bytes_per_attempt,
        played.0.as_secs_f64(),
        played.1 - cpu,
        (began.elapsed() - played.0).as_secs_f64(),
    ));
}

#[expect(clippy::print_stderr, reason = "the figures of docs/statistics.md, seen with --nocapture")]
fn tell(summary: &str) {
    eprintln!("{summary}");
}

/// Processor time of this process in seconds; 0 where the system does not tell it so.
fn cpu_seconds() -> f64 {
    const TICKS_PER_SECOND: f64 = 100.0;
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = text.rsplit(')').next().unwrap_or_default();
    let fields = || after_name.split_whitespace().skip(11).take(2);
    fields().filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / TICKS_PER_SECOND
}
