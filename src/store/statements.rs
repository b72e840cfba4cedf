//! Every statement of the store, each one text for both databases; a contract test prepares them all on both.

use std::sync::LazyLock;

/// Sorts after every id (ids begin with a hexadecimal digit): the cursor of a first page.
pub(super) const AFTER_EVERY_ID: &str = "g";

macro_rules! attempt_columns {
    () => {
        "id, sweep, endpoint, suite, case_id, epoch, model, verdict, why, score, fault, secondary, error_type, \
         explanation, tries, first_try_ok, delivered, started_at_us, ttft_us, total_us, tokens_in, tokens_out, \
         tokens_reasoning, cost_nanousd, finish_reason, draw, observed, sampled, scorers"
    };
}

/// What scorecards and evidence need of an attempt, without its long texts.
macro_rules! measure_columns {
    () => {
        "id, sweep, endpoint, suite, case_id, epoch, verdict, why, score, fault, secondary, first_try_ok, delivered, \
         started_at_us, ttft_us, total_us, tokens_in, tokens_out, cost_nanousd, observed, sampled"
    };
}

macro_rules! exchange_columns {
    () => {
        "t.role, t.scorer, t.number, t.started_at_us, t.ttft_us, t.total_us, t.cost_nanousd, t.tries, t.codec, t.bytes"
    };
}

/// Of an exchange `t`: its attempt is not stored.
macro_rules! open_exchange {
    () => {
        "NOT EXISTS (SELECT 1 FROM attempts o WHERE o.sweep = t.sweep AND o.endpoint = t.endpoint AND o.suite = t.suite \
         AND o.case_id = t.case_id AND o.epoch = t.epoch)"
    };
}

macro_rules! sweep_columns {
    () => {
        "id, model, ordinal, kind, state, planned_at_us, finished_at_us, reserved_nanousd, spent_nanousd, \
         lease_owner, lease_until_us, fence, note"
    };
}

macro_rules! allowlist_columns {
    () => {
        "model, revision, issued_at_us, expires_at_us, mode, document, etag, sweep, capability"
    };
}

macro_rules! decision_columns {
    () => {
        "id, model, endpoint, sweep, at_us, kind, from_standing, to_standing, suite, reason, evidence, \
         capability"
    };
}

macro_rules! history_columns {
    () => {
        "seq, at_us, mark_us, kind, rules, setting, sweep, record, decisions, revision, state_digest"
    };
}

/// Numbers of a model's steps whose sweeps cannot be folded again: their plans were pruned, or they themselves are gone.
macro_rules! steps_pruned {
    ($model:literal) => {
        concat!(
            "SELECT CAST(COALESCE(MAX(h.seq), 0) AS BIGINT) FROM history h LEFT JOIN sweeps w ON w.id = h.sweep \
             WHERE h.kind = 'sweep' AND w.plan IS NULL AND h.model = ",
            $model
        )
    };
}

macro_rules! alarm_columns {
    () => {
        "id, model, endpoint, kind, text, opened_at_us, closed_at_us, capability"
    };
}

/// Declares the statements, and [`FIXED`] with all of them.
macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $text:expr;)+) => {
        $($(#[$doc])* pub(super) const $name: &str = $text;)+
        const FIXED: &[&str] = &[$($text),+];
    };
}

statements! {
    SCHEMA_VERSION = "SELECT CAST(COALESCE(MAX(version), 0) AS BIGINT) FROM _sqlx_migrations";
    META_GET = "SELECT value FROM meta WHERE key = $1";
    META_SET = "INSERT INTO meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";

    SUITE_GET = "SELECT digest, case_hashes FROM suites WHERE name = $1 AND revision = $2";
    SUITE_OF_DIGEST = "SELECT case_hashes FROM suites WHERE name = $1 AND digest = $2 ORDER BY seen_at_us LIMIT 1";
    SUITE_NAMES = "SELECT DISTINCT name FROM suites ORDER BY name LIMIT $1";
    SUITE_SEEN = "UPDATE suites SET seen_at_us = $3 WHERE name = $1 AND revision = $2 AND seen_at_us < $3";
    SUITE_ADD = "INSERT INTO suites (name, revision, digest, seen_at_us, case_hashes) VALUES ($1, $2, $3, $4, $5) \
                 ON CONFLICT DO NOTHING";

    FIRE_ADD = "INSERT INTO fires (schedule, fire_at_us, model, sweep, note) VALUES ($1, $2, $3, $4, $5) \
                ON CONFLICT DO NOTHING";
    FIRE_LAST = "SELECT fire_at_us FROM fires WHERE schedule = $1 AND model = $2 ORDER BY fire_at_us DESC LIMIT 1";
    FIRE_LAST_UNTIL = "SELECT fire_at_us FROM fires WHERE schedule = $1 AND model = $2 AND fire_at_us <= $3 \
                       ORDER BY fire_at_us DESC LIMIT 1";

    SWEEP_ADD = "INSERT INTO sweeps (id, model, ordinal, kind, state, plan, planned_at_us, finished_at_us, \
                 reserved_nanousd, spent_nanousd, lease_owner, lease_until_us, fence, note) \
                 VALUES ($1, $2, $3, $4, 'running', $5, $6, NULL, $7, 0, NULL, NULL, 0, $8) ON CONFLICT DO NOTHING";
    SWEEP_NEXT_ORDINAL = "SELECT CAST(COALESCE(MAX(ordinal), 0) AS BIGINT) + 1 FROM sweeps WHERE model = $1";
    SWEEP_CLAIM = "UPDATE sweeps SET lease_owner = $2, lease_until_us = $3, fence = fence + 1 \
                   WHERE id = $1 AND state = 'running' \
                   AND (lease_owner IS NULL OR lease_owner = $2 OR lease_until_us <= $4) RETURNING fence";
    SWEEP_RENEW = "UPDATE sweeps SET lease_until_us = $3 WHERE id = $1 AND fence = $2 AND state = 'running'";
    SWEEP_RELEASE = "UPDATE sweeps SET lease_owner = NULL, lease_until_us = NULL WHERE id = $1 AND fence = $2";
    SWEEP_FENCE = "SELECT fence, state FROM sweeps WHERE id = $1";
    /// Changes nothing and locks the row until the transaction ends, so that the sweep cannot end meanwhile.
    SWEEP_HOLD = "UPDATE sweeps SET fence = fence WHERE id = $1 AND state = 'running' RETURNING model";
    SWEEP_END = "UPDATE sweeps SET state = $3, finished_at_us = $4, \
                 note = CASE WHEN CAST($5 AS TEXT) = '' THEN note ELSE $5 END, lease_owner = NULL, \
                 lease_until_us = NULL, spent_nanousd = (SELECT CAST(COALESCE(SUM(a.cost_nanousd), 0) AS BIGINT) \
                 FROM attempts a WHERE a.sweep = $1) WHERE id = $1 AND fence = $2 AND state = 'running'";
    SWEEP_GET = concat!("SELECT ", sweep_columns!(), ", plan FROM sweeps WHERE id = $1");
    SWEEPS_RUNNING = concat!("SELECT ", sweep_columns!(), ", plan FROM sweeps WHERE state = 'running' \
                     AND (CAST($1 AS TEXT) IS NULL OR model = $1) ORDER BY id");
    SWEEPS_LIST = concat!("SELECT ", sweep_columns!(), " FROM sweeps WHERE id < $1 \
                  AND (CAST($2 AS TEXT) IS NULL OR model = $2) AND (CAST($3 AS TEXT) IS NULL OR state = $3) \
                  ORDER BY id DESC LIMIT $4");
    SWEEPS_NEWEST = concat!("SELECT ", sweep_columns!(), " FROM sweeps WHERE model = $1 ORDER BY ordinal DESC LIMIT $2");
    SWEEP_PROGRESS = "SELECT endpoint, verdict, COUNT(*) FROM attempts WHERE sweep = $1 GROUP BY endpoint, verdict";

    /// By model, because the index on time begins with the model.
    SPENT_SINCE = concat!("SELECT CAST(COALESCE(SUM(a.cost_nanousd), 0) + COALESCE((SELECT SUM(t.cost_nanousd) \
                   FROM exchanges t WHERE t.started_at_us >= $1 AND ", open_exchange!(), "), 0) AS BIGINT) \
                   FROM (SELECT DISTINCT model FROM sweeps) m \
                   JOIN attempts a ON a.model = m.model AND a.started_at_us >= $1");
    RESERVATIONS = concat!("SELECT s.reserved_nanousd, CAST(COALESCE((SELECT SUM(a.cost_nanousd) FROM attempts a \
                    WHERE a.sweep = s.id), 0) + COALESCE((SELECT SUM(t.cost_nanousd) FROM exchanges t WHERE t.sweep = s.id \
                    AND ", open_exchange!(), "), 0) AS BIGINT) FROM sweeps s WHERE s.state = 'running'");
    EXCHANGE_ADD = "INSERT INTO exchanges (sweep, endpoint, suite, case_id, epoch, role, scorer, number, started_at_us, \
                    ttft_us, total_us, cost_nanousd, tries, codec, bytes) \
                    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) ON CONFLICT DO NOTHING";
    EXCHANGES_OPEN = concat!("SELECT ", exchange_columns!(), ", t.endpoint, t.suite, t.case_id, t.epoch FROM exchanges t \
                      WHERE t.sweep = $1 AND ", open_exchange!());
    VOTES_OF_ATTEMPT = concat!("SELECT ", exchange_columns!(), " FROM exchanges t WHERE t.sweep = $1 AND t.endpoint = $2 \
                        AND t.suite = $3 AND t.case_id = $4 AND t.epoch = $5 AND t.role = 'vote' \
                        ORDER BY t.scorer, t.number");
    /// Those whose attempt is stored and holds them: votes stay.
    EXCHANGES_CLEAR = "DELETE FROM exchanges WHERE sweep = $1 AND role <> 'vote' AND EXISTS (SELECT 1 FROM attempts a \
                       WHERE a.sweep = exchanges.sweep AND a.endpoint = exchanges.endpoint AND a.suite = exchanges.suite \
                       AND a.case_id = exchanges.case_id AND a.epoch = exchanges.epoch)";

    ATTEMPT_KNOWN = "SELECT id FROM attempts WHERE id = $1";
    ATTEMPT_GET = concat!("SELECT ", attempt_columns!(), " FROM attempts WHERE id = $1");
    ATTEMPT_KEYS = "SELECT endpoint, suite, case_id, epoch FROM attempts WHERE sweep = $1";
    ATTEMPTS_OF_SWEEP = concat!("SELECT ", measure_columns!(), " FROM attempts WHERE sweep = $1");
    /// Sampled answers of the earlier sweeps of a round: of those whose step was made before that of the round's last
    /// sweep, then as in any replay.
    ATTEMPTS_OF_ROUND = concat!("SELECT ", measure_columns!(), " FROM attempts WHERE suite = 'fingerprint-samples' \
                        AND sweep IN (SELECT s.id FROM sweeps s WHERE s.model = $1 AND s.ordinal >= $2 \
                        AND s.ordinal < $3 AND s.state = 'done' \
                        AND s.id IN (SELECT h.sweep FROM history h WHERE h.model = $1 AND h.seq < COALESCE((SELECT \
                        MIN(own.seq) FROM history own WHERE own.model = $1 AND own.sweep = $4), 9223372036854775807)))");
    ATTEMPTS_LIST = concat!("SELECT ", attempt_columns!(), " FROM attempts WHERE id < $1 \
                    AND (CAST($2 AS TEXT) IS NULL OR model = $2) AND (CAST($3 AS TEXT) IS NULL OR endpoint = $3) \
                    AND (CAST($4 AS TEXT) IS NULL OR suite = $4) AND (CAST($5 AS TEXT) IS NULL OR verdict = $5) \
                    AND (CAST($6 AS TEXT) IS NULL OR fault = $6) AND started_at_us >= $7 \
                    ORDER BY id DESC LIMIT $8");
    ATTEMPTS_LIST_OF_SWEEP = concat!("SELECT ", attempt_columns!(), " FROM attempts WHERE id < $1 \
                    AND (CAST($2 AS TEXT) IS NULL OR model = $2) AND (CAST($3 AS TEXT) IS NULL OR endpoint = $3) \
                    AND (CAST($4 AS TEXT) IS NULL OR suite = $4) AND (CAST($5 AS TEXT) IS NULL OR verdict = $5) \
                    AND (CAST($6 AS TEXT) IS NULL OR fault = $6) AND started_at_us >= $7 \
                    AND sweep = $9 ORDER BY id DESC LIMIT $8");
    /// Without the prompts for fingerprints: they are no part of a scorecard, nor of how fast an endpoint is.
    ATTEMPTS_WINDOW = concat!("SELECT ", measure_columns!(), " FROM attempts \
                      WHERE model = $1 AND started_at_us >= $2 AND started_at_us < $3 \
                      AND suite NOT IN ('fingerprint-tokens', 'fingerprint-greedy', 'fingerprint-samples') \
                      AND (started_at_us > $2 OR id > $4) ORDER BY started_at_us, id LIMIT $5");
    /// Answers with a finish reason: whether it says that a tool is called.
    CALLED_WINDOW = "SELECT sweep, endpoint, case_id, epoch, finish_reason FROM attempts WHERE model = $1 \
                     AND started_at_us >= $2 AND started_at_us < $3 AND suite = $4 AND finish_reason IS NOT NULL \
                     AND verdict <> 'unscored'";
    /// Without those that cannot be attributed to their endpoint. Newest first, the page after (started_at_us, id); without one the pair is the end of the window and no id.
    ANSWERS_WINDOW = "SELECT a.id, a.sweep, a.endpoint, a.case_id, a.epoch, a.started_at_us, t.codec, t.bytes \
                      FROM attempts a JOIN transcripts t ON t.attempt = a.id WHERE a.model = $1 AND a.started_at_us >= $2 \
                      AND a.suite = $3 AND (a.why IS NULL OR a.why <> 'provenance') AND a.started_at_us <= $4 AND (a.started_at_us < $4 OR a.id < $5) \
                      ORDER BY a.started_at_us DESC, a.id DESC LIMIT $6";
    RESCORED_ADD = "INSERT INTO rescored (attempt, digest, verdict, why, score, fault, secondary, error_type, \
                    explanation, rescored_at_us) SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10 \
                    WHERE EXISTS (SELECT 1 FROM attempts a WHERE a.id = $1) ON CONFLICT DO NOTHING";
    RESCORED_WINDOW = "SELECT r.attempt, r.digest, a.endpoint, a.suite, a.case_id, a.started_at_us, r.verdict, r.why, \
                       r.fault, a.verdict, a.why, a.fault FROM attempts a JOIN rescored r ON r.attempt = a.id \
                       WHERE a.model = $1 AND a.started_at_us >= $2 AND a.started_at_us < $3 AND (a.started_at_us > $2 \
                       OR a.id > $4 OR (a.id = $4 AND r.digest > $5)) ORDER BY a.started_at_us, a.id, r.digest LIMIT $6";
    TRANSCRIPT_GET = "SELECT codec, bytes FROM transcripts WHERE attempt = $1";

    STATE_NEWEST = "SELECT seq, sweep, at_us, bytes FROM states WHERE model = $1 ORDER BY seq DESC LIMIT 1";
    STATE_BEFORE = "SELECT seq, sweep, at_us, bytes FROM states WHERE model = $1 AND seq < $2 ORDER BY seq DESC LIMIT 1";
    STATE_SEQ = "SELECT CAST(COALESCE(MAX(seq), 0) AS BIGINT) FROM states WHERE model = $1";
    STATE_ADD = "INSERT INTO states (model, seq, sweep, at_us, bytes) VALUES ($1, $2, $3, $4, $5) \
                 ON CONFLICT DO NOTHING";
    STATE_FORGET = "DELETE FROM states WHERE model = $1 AND seq < $2";

    STATE_HEADS = "SELECT model, CAST(MAX(seq) AS BIGINT) FROM states GROUP BY model";

    SETTING_ADD = "INSERT INTO settings (digest, json) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    SETTING_GET = "SELECT json FROM settings WHERE digest = $1";
    HISTORY_ADD = concat!("INSERT INTO history (model, ", history_columns!(), ") \
                  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)");
    HISTORY_GET = concat!("SELECT ", history_columns!(), " FROM history WHERE model = $1 AND seq = $2");
    HISTORY_AFTER = concat!("SELECT ", history_columns!(), " FROM history WHERE model = $1 AND seq > $2 \
                    ORDER BY seq LIMIT $3");
    HISTORY_OF_KIND = "SELECT seq FROM history WHERE model = $1 AND seq > $2 AND kind = $3 ORDER BY seq LIMIT 1";
    HISTORY_OF_REVISION = "SELECT seq FROM history WHERE model = $1 AND revision = $2 ORDER BY seq DESC LIMIT 1";
    HISTORY_HORIZON = concat!("SELECT CAST(COALESCE(MAX(g.seq), 0) AS BIGINT) FROM history g WHERE g.model = $1 \
                      AND (g.rules <> $2 OR g.seq = (", steps_pruned!("$1"), "))");
    CHECKPOINT_OF_BASE = "INSERT INTO checkpoints (model, seq, at_us, revision, bytes) \
                          SELECT s.model, s.seq, s.at_us, (SELECT MAX(a.revision) FROM allowlists a \
                          WHERE a.model = s.model AND a.capability = ''), s.bytes FROM states s WHERE s.model = $1 AND s.seq = $2 \
                          AND NOT EXISTS (SELECT 1 FROM history h WHERE h.model = $1 AND h.seq = $2 AND h.rules = $3) \
                          ON CONFLICT DO NOTHING";
    CHECKPOINT_ADD = "INSERT INTO checkpoints (model, seq, at_us, revision, bytes) \
                      SELECT s.model, s.seq, s.at_us, (SELECT MAX(a.revision) FROM allowlists a \
                      WHERE a.model = s.model AND a.capability = ''), s.bytes FROM states s WHERE s.model = $1 AND s.seq = $2 \
                      ON CONFLICT DO NOTHING";
    /// From the newest state, for models whose every checkpoint lies before the horizon.
    CHECKPOINT_AT_HORIZON = concat!("INSERT INTO checkpoints (model, seq, at_us, revision, bytes) \
                            SELECT s.model, s.seq, s.at_us, (SELECT MAX(a.revision) FROM allowlists a \
                            WHERE a.model = s.model AND a.capability = ''), s.bytes FROM states s \
                            WHERE s.seq = (SELECT MAX(t.seq) FROM states t WHERE t.model = s.model) \
                            AND (", steps_pruned!("s.model"), ") > 0 \
                            AND NOT EXISTS (SELECT 1 FROM checkpoints c WHERE c.model = s.model AND c.seq >= (",
                            steps_pruned!("s.model"), ")) ON CONFLICT DO NOTHING");
    CHECKPOINTS_FORGET = concat!("DELETE FROM checkpoints WHERE seq < (", steps_pruned!("checkpoints.model"), ")");
    CHECKPOINTS_LIST = "SELECT seq FROM checkpoints WHERE model = $1 ORDER BY seq";
    CHECKPOINT_GET = "SELECT seq, at_us, revision, bytes FROM checkpoints WHERE model = $1 AND seq = $2";

    DECISION_ADD = concat!("INSERT INTO decisions (", decision_columns!(), ", seq) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)");
    DECISIONS_LIST = concat!("SELECT ", decision_columns!(), " FROM decisions WHERE model = $1 AND id < $2 \
                     AND (CAST($3 AS TEXT) IS NULL OR endpoint = $3) \
                     AND (CAST($4 AS TEXT) IS NULL OR capability = $4) \
                     AND (CAST($5 AS TEXT) IS NULL OR kind = $5) ORDER BY id DESC LIMIT $6");
    DECISIONS_OF_ALL = concat!("SELECT ", decision_columns!(), " FROM decisions WHERE id < $1 \
                       AND (CAST($2 AS TEXT) IS NULL OR endpoint = $2) \
                       AND (CAST($3 AS TEXT) IS NULL OR capability = $3) \
                       AND (CAST($4 AS TEXT) IS NULL OR kind = $4) ORDER BY id DESC LIMIT $5");
    DECISION_GET = concat!("SELECT ", decision_columns!(), " FROM decisions WHERE id = $1");
    DECISIONS_OF_STEP = concat!("SELECT ", decision_columns!(), " FROM decisions WHERE model = $1 AND seq = $2 \
                        ORDER BY id");

    ALLOWLIST_ADD = concat!("INSERT INTO allowlists (", allowlist_columns!(), ", seq) \
                     SELECT CAST($1 AS TEXT), CAST($2 AS BIGINT), CAST($3 AS BIGINT), CAST($4 AS BIGINT), \
                     CAST($5 AS TEXT), CAST($6 AS TEXT), CAST($7 AS TEXT), CAST($8 AS TEXT), CAST($9 AS TEXT), \
                     CAST($10 AS BIGINT) WHERE NOT EXISTS \
                     (SELECT 1 FROM allowlists WHERE model = $1 AND capability = $9 AND revision >= $2) \
                     ON CONFLICT DO NOTHING");
    /// Those of the capabilities as well.
    ALLOWLISTS_CURRENT = concat!("SELECT ", allowlist_columns!(), " FROM allowlists a WHERE revision = \
                         (SELECT MAX(b.revision) FROM allowlists b WHERE b.model = a.model \
                         AND b.capability = a.capability) ORDER BY model, capability");
    ALLOWLIST_GET = concat!("SELECT ", allowlist_columns!(), " FROM allowlists \
                    WHERE model = $1 AND capability = $2 AND revision = $3");
    ALLOWLIST_NEWEST = concat!("SELECT ", allowlist_columns!(), " FROM allowlists \
                       WHERE model = $1 AND capability = $2 ORDER BY revision DESC LIMIT 1");
    /// The newest of each capability of a model, of those published up to a step.
    CAPABILITY_LISTS = concat!("SELECT ", allowlist_columns!(), " FROM allowlists a WHERE model = $1 \
                       AND capability <> '' AND revision = (SELECT MAX(b.revision) FROM allowlists b \
                       WHERE b.model = a.model AND b.capability = a.capability AND b.seq <= $2) ORDER BY capability");
    CAPABILITY_LISTS_OF_STEP = concat!("SELECT ", allowlist_columns!(), " FROM allowlists WHERE model = $1 \
                               AND seq = $2 AND capability <> '' ORDER BY capability");

    ALARM_OPEN = "INSERT INTO alarms (id, model, endpoint, kind, capability, text, opened_at_us, closed_at_us) \
                  VALUES ($1, $2, $3, $4, $5, $6, $7, NULL) ON CONFLICT DO NOTHING";
    /// What an open alarm says is what holds.
    ALARM_RENEW = "UPDATE alarms SET text = $5 WHERE model = $1 AND endpoint = $2 AND kind = $3 AND capability = $4 \
                   AND closed_at_us IS NULL AND text <> $5";
    ALARM_CLOSE = "UPDATE alarms SET closed_at_us = $5 WHERE model = $1 AND endpoint = $2 AND kind = $3 \
                   AND capability = $4 AND closed_at_us IS NULL RETURNING id";
    ALARM_GET = concat!("SELECT ", alarm_columns!(), " FROM alarms WHERE id = $1");
    ALARMS_OPEN = concat!("SELECT ", alarm_columns!(), " FROM alarms WHERE closed_at_us IS NULL ORDER BY id");
    ALARMS_LIST = concat!("SELECT ", alarm_columns!(), " FROM alarms WHERE id < $1 \
                  AND (CAST($2 AS TEXT) IS NULL OR model = $2) ORDER BY id DESC LIMIT $3");

    ACK_UPDATE = "UPDATE acks SET version = $4, status = $5, detail = $6, token = $7, adopted = COALESCE($8, adopted), \
                  at_us = $9 WHERE client = $1 AND model = $2 AND capability = $3 RETURNING adopted";
    ACK_ADD = "INSERT INTO acks (client, model, capability, version, status, detail, token, adopted, at_us) \
               SELECT CAST($1 AS TEXT), CAST($2 AS TEXT), CAST($3 AS TEXT), CAST($4 AS BIGINT), CAST($5 AS TEXT), \
               CAST($6 AS TEXT), CAST($7 AS TEXT), CAST($8 AS BIGINT), CAST($9 AS BIGINT) \
               WHERE (SELECT COUNT(*) FROM acks) < $10 ON CONFLICT DO NOTHING RETURNING adopted";
    ACKS_LIST = "SELECT client, model, capability, version, status, detail, token, adopted, at_us FROM acks";
    ACKS_FORGET = "DELETE FROM acks WHERE at_us < $1";

    OUTBOX_ADD = "INSERT INTO outbox (id, kind, subject, model, mark_us, at_us) VALUES ($1, $2, $3, $4, $5, $6) \
                  ON CONFLICT DO NOTHING";
    OUTBOX_UNDELIVERED = "SELECT o.id, o.kind, o.subject, o.at_us FROM outbox o WHERE o.mark_us >= $2 AND NOT EXISTS \
                          (SELECT 1 FROM deliveries d WHERE d.webhook = $1 AND d.event = o.id) \
                          ORDER BY o.mark_us, o.id LIMIT $3";
    OUTBOX_FORGET = "DELETE FROM outbox WHERE mark_us < $1";
    DELIVERY_ADD = "INSERT INTO deliveries (webhook, event, outcome, at_us) VALUES ($1, $2, $3, $4) \
                    ON CONFLICT DO NOTHING";
    DELIVERIES_FORGET = "DELETE FROM deliveries WHERE event IN (SELECT o.id FROM outbox o WHERE o.mark_us < $1)";
    LIVE_SERIES_ADD = "INSERT INTO live_series (id, model, endpoint, stratum) VALUES ($1, $2, $3, $4) \
                       ON CONFLICT DO NOTHING";
    LIVE_PUT = "INSERT INTO live_cells (series, width_s, start_us, part, bytes) VALUES ($1, $2, $3, $4, $5) \
                ON CONFLICT (series, width_s, start_us, part) DO UPDATE SET bytes = excluded.bytes";
    LIVE_READ = "SELECT s.model, s.endpoint, s.stratum, c.start_us, c.part, c.bytes FROM live_series s \
                 JOIN live_cells c ON c.series = s.id AND c.width_s = $3 AND c.start_us >= $4 AND c.start_us < $5 \
                 WHERE s.model = $1 AND (CAST($2 AS TEXT) IS NULL OR s.endpoint = $2) \
                 ORDER BY s.endpoint, s.stratum, c.start_us, c.part";
    LIVE_IDS = "SELECT id FROM live_series";
    LIVE_OLDEST = "SELECT MIN(start_us) FROM live_cells WHERE series = $1 AND width_s = $2";
    LIVE_PRUNE = "DELETE FROM live_cells WHERE series = $1 AND width_s = $2 AND start_us < $3";
    LEASE_TAKE = "INSERT INTO leases (name, owner, until_us) VALUES ($1, $2, $3) ON CONFLICT (name) DO UPDATE \
                  SET owner = excluded.owner, until_us = excluded.until_us \
                  WHERE leases.owner = excluded.owner OR leases.until_us <= $4";

    LEASE_HOLDER = "SELECT owner FROM leases WHERE name = $1";
    LEASE_TAKE_OVER = "UPDATE leases SET owner = $2, until_us = $3 WHERE name = $1 AND owner = $4";

    /// Ids of version 7 sort by time, so retention needs no index of its own.
    PRUNE_TRANSCRIPTS = "DELETE FROM transcripts WHERE attempt IN \
                         (SELECT attempt FROM transcripts WHERE attempt < $1 ORDER BY attempt LIMIT $2)";
    /// Sampled answers stay as long again as a round may last: every sweep that ends one and is not pruned finds them.
    PRUNE_ATTEMPTS = "DELETE FROM attempts WHERE id IN (SELECT a.id FROM attempts a WHERE a.id < $1 \
                      AND (a.suite <> 'fingerprint-samples' OR a.id < $3) AND a.sweep NOT IN (SELECT s.id FROM sweeps s WHERE s.state = 'running') ORDER BY a.id LIMIT $2)";
    /// They go with the transcripts of their attempts.
    PRUNE_EXCHANGES = "DELETE FROM exchanges WHERE (sweep, endpoint, suite, case_id, epoch, role, scorer, number) IN \
                       (SELECT e.sweep, e.endpoint, e.suite, e.case_id, e.epoch, e.role, e.scorer, e.number \
                       FROM exchanges e WHERE e.sweep < $1 \
                       AND e.sweep NOT IN (SELECT s.id FROM sweeps s WHERE s.state = 'running') LIMIT $2)";
    PRUNE_PLANS = "UPDATE sweeps SET plan = NULL WHERE id < $1 AND state <> 'running' AND plan IS NOT NULL";

    ORPHAN_TRANSCRIPTS = "SELECT COUNT(*) FROM transcripts t WHERE NOT EXISTS \
                          (SELECT 1 FROM attempts a WHERE a.id = t.attempt)";
    ORPHAN_ATTEMPTS = "SELECT COUNT(*) FROM attempts a WHERE NOT EXISTS (SELECT 1 FROM sweeps s WHERE s.id = a.sweep)";
    ORPHAN_DECISIONS = "SELECT COUNT(*) FROM decisions d WHERE d.sweep IS NOT NULL AND NOT EXISTS \
                        (SELECT 1 FROM sweeps s WHERE s.id = d.sweep)";
    SWEEPS_UNFINISHED = "SELECT COUNT(*) FROM sweeps WHERE state <> 'running' AND finished_at_us IS NULL";
    PLANS_MISSING = "SELECT COUNT(*) FROM sweeps WHERE state = 'running' AND plan IS NULL";

    COUNT_SUITES = "SELECT COUNT(*) FROM suites";
    COUNT_SWEEPS = "SELECT COUNT(*) FROM sweeps";
    COUNT_FIRES = "SELECT COUNT(*) FROM fires";
    COUNT_ATTEMPTS = "SELECT COUNT(*) FROM attempts";
    COUNT_TRANSCRIPTS = "SELECT COUNT(*) FROM transcripts";
    COUNT_EXCHANGES = "SELECT COUNT(*) FROM exchanges";
    COUNT_RESCORED = "SELECT COUNT(*) FROM rescored";
    COUNT_STATES = "SELECT COUNT(*) FROM states";
    COUNT_SETTINGS = "SELECT COUNT(*) FROM settings";
    COUNT_HISTORY = "SELECT COUNT(*) FROM history";
    COUNT_CHECKPOINTS = "SELECT COUNT(*) FROM checkpoints";
    COUNT_DECISIONS = "SELECT COUNT(*) FROM decisions";
    COUNT_ALLOWLISTS = "SELECT COUNT(*) FROM allowlists";
    COUNT_ALARMS = "SELECT COUNT(*) FROM alarms";
    COUNT_ACKS = "SELECT COUNT(*) FROM acks";
    COUNT_OUTBOX = "SELECT COUNT(*) FROM outbox";
    COUNT_DELIVERIES = "SELECT COUNT(*) FROM deliveries";
    COUNT_LIVE_CELLS = "SELECT COUNT(*) FROM live_cells";
}

/// The tables that are counted, with their statements.
pub(super) const COUNTS: &[(&str, &str)] = &[
    ("suites", COUNT_SUITES),
    ("sweeps", COUNT_SWEEPS),
    ("fires", COUNT_FIRES),
    ("attempts", COUNT_ATTEMPTS),
    ("transcripts", COUNT_TRANSCRIPTS),
    ("exchanges", COUNT_EXCHANGES),
    ("rescored", COUNT_RESCORED),
    ("states", COUNT_STATES),
    ("settings", COUNT_SETTINGS),
    ("history", COUNT_HISTORY),
    ("checkpoints", COUNT_CHECKPOINTS),
    ("decisions", COUNT_DECISIONS),
    ("allowlists", COUNT_ALLOWLISTS),
    ("alarms", COUNT_ALARMS),
    ("acks", COUNT_ACKS),
    ("outbox", COUNT_OUTBOX),
    ("deliveries", COUNT_DELIVERIES),
    ("live_cells", COUNT_LIVE_CELLS),
];

/// Columns of an attempt.
pub(super) const ATTEMPT_COLUMNS: usize = 29;
/// Columns of a transcript.
pub(super) const TRANSCRIPT_COLUMNS: usize = 3;

/// Inserts of several rows come in these sizes only, largest first, so that few statements stay prepared.
/// The largest binds 64 * 28 = 1,792 values; SQLite allows 32,766 and PostgreSQL 65,535.
const INSERT_ROWS: [usize; 3] = [64, 8, 1];

/// The texts of one insert in the sizes of [`INSERT_ROWS`], with both kinds of placeholders: to SQLite a numbered one
/// is a name, and it searches the list of all names for each value, which made up most of the cost of a large insert.
pub(super) struct Inserts {
    numbered: [String; INSERT_ROWS.len()],
    positional: [String; INSERT_ROWS.len()],
}

/// How the values of a statement are marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Placeholders {
    /// `$1, $2, ..`: understood by both databases.
    Numbered,
    /// `?`: SQLite, for large inserts.
    Positional,
}

impl Inserts {
    fn new(into: &str, columns: usize) -> Self {
        let texts = |placeholders: Placeholders| {
            INSERT_ROWS.map(|rows| {
                let value = |at: usize| match placeholders {
                    Placeholders::Numbered => format!("${}", at + 1),
                    Placeholders::Positional => "?".to_owned(),
                };
                let row = |r: usize| {
                    let values: Vec<String> = (0..columns).map(|c| value(r * columns + c)).collect();
                    format!("({})", values.join(", "))
                };
                let all: Vec<String> = (0..rows).map(row).collect();
                format!("INSERT INTO {into} VALUES {} ON CONFLICT DO NOTHING", all.join(", "))
            })
        };
        Inserts { numbered: texts(Placeholders::Numbered), positional: texts(Placeholders::Positional) }
    }

    fn texts(&'static self, placeholders: Placeholders) -> &'static [String; INSERT_ROWS.len()] {
        match placeholders {
            Placeholders::Numbered => &self.numbered,
            Placeholders::Positional => &self.positional,
        }
    }

    /// The largest insert for at most this many rows (at least 1), and its size.
    pub fn for_rows(&'static self, rows: usize, placeholders: Placeholders) -> (&'static str, usize) {
        let at = INSERT_ROWS.iter().position(|size| *size <= rows).unwrap_or(INSERT_ROWS.len() - 1);
        (&self.texts(placeholders)[at], INSERT_ROWS[at])
    }
}

/// Adds attempts; those whose id or key exists are left as they are.
pub(super) static ATTEMPTS_ADD: LazyLock<Inserts> =
    LazyLock::new(|| Inserts::new(concat!("attempts (", attempt_columns!(), ")"), ATTEMPT_COLUMNS));
/// Adds transcripts.
pub(super) static TRANSCRIPTS_ADD: LazyLock<Inserts> =
    LazyLock::new(|| Inserts::new("transcripts (attempt, codec, bytes)", TRANSCRIPT_COLUMNS));

/// Every statement of the store, as a database with these placeholders gets it.
pub(super) fn all(placeholders: Placeholders) -> Vec<&'static str> {
    let inserts = [&*ATTEMPTS_ADD, &*TRANSCRIPTS_ADD];
    let generated = inserts.into_iter().flat_map(|inserts| inserts.texts(placeholders)).map(String::as_str);
    FIXED.iter().copied().chain(generated).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_insert_never_takes_more_rows_than_there_are() {
        for (rows, placeholders) in (1..200).flat_map(|n| [(n, Placeholders::Numbered), (n, Placeholders::Positional)])
        {
            let (text, size) = ATTEMPTS_ADD.for_rows(rows, placeholders);
            assert!(size <= rows);
            assert_eq!(text.matches("), (").count() + 1, size);
        }
        let (text, _) = ATTEMPTS_ADD.for_rows(1, Placeholders::Numbered);
        assert!(text.contains("$29)") && attempt_columns!().split(',').count() == ATTEMPT_COLUMNS);
    }
}
