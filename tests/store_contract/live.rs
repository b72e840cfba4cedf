//! Counts of live traffic.

use exactod::store::{LiveCell, LiveSeries, Retention, Store, StoreOptions};

use crate::kit::{DAY, Database, SECOND, T0};

fn cell(endpoint: &str, width_s: u32, start_us: i64, part: i64, bytes: &[u8]) -> LiveCell {
    let series =
        LiveSeries { model: "lab/m".to_owned(), endpoint: endpoint.to_owned(), stratum: "tools-any".to_owned() };
    LiveCell { series, width_s, start_us, part, bytes: bytes.to_vec() }
}

async fn all(store: &Store, endpoint: Option<&str>, width_s: u32) -> Vec<LiveCell> {
    store.live(("lab/m", endpoint), width_s, (i64::MIN, i64::MAX)).await.unwrap()
}

pub async fn live_cells_are_replaced_by_their_key_and_read_by_time(db: Database) {
    let store = db.store().await;
    store.put_live(&[]).await.unwrap();
    let first = [
        cell("a", 60, T0, 1, b"x"),
        cell("a", 60, T0, 2, b"y"),
        cell("b", 60, T0 + 60 * SECOND, 1, b"z"),
        cell("a", 3600, T0, 1, b"hour"),
        cell("", 60, T0, 1, b"nobody"),
    ];
    store.put_live(&first).await.unwrap();
    store.put_live(&[cell("a", 60, T0, 1, b"more")]).await.unwrap();
    let read = all(&store, Some("a"), 60).await;
    assert_eq!(read, [cell("a", 60, T0, 1, b"more"), cell("a", 60, T0, 2, b"y")]);
    assert_eq!(all(&store, None, 60).await.len(), 4);
    assert_eq!(all(&store, Some(""), 60).await, [cell("", 60, T0, 1, b"nobody")]);
    assert_eq!(all(&store, None, 3600).await, [cell("a", 3600, T0, 1, b"hour")]);
    let window = (T0 + 1, T0 + 60 * SECOND + 1);
    let later = store.live(("lab/m", None), 60, window).await.unwrap();
    assert_eq!(later, [cell("b", 60, T0 + 60 * SECOND, 1, b"z")]);
    assert_eq!(store.live(("lab/m", None), 60, (T0, T0)).await.unwrap(), []);
    assert_eq!(store.live(("other", None), 60, (i64::MIN, i64::MAX)).await.unwrap(), []);
    assert_eq!(store.check().await.unwrap().rows["live_cells"], 5);
}

pub async fn live_cells_are_pruned_by_age(db: Database) {
    let store = db.store().await;
    let cells: Vec<LiveCell> = (0..40)
        .flat_map(|day| {
            let at = T0 + day * DAY;
            [cell("a", 60, at, 1, b"m"), cell("b", 60, at + 60 * SECOND, 1, b"m"), cell("a", 86_400, at, 1, b"d")]
        })
        .collect();
    store.put_live(&cells).await.unwrap();
    let prune = async |before_us: i64| {
        let retention = Retention { observations_before_us: Some(before_us), ..Retention::default() };
        store.prune(&retention).await.unwrap().observations
    };
    assert_eq!(prune(T0).await, 0);
    assert_eq!(prune(T0 + 30 * DAY).await, 90);
    assert_eq!((all(&store, None, 60).await.len(), all(&store, None, 86_400).await.len()), (20, 10));
    assert_eq!(prune(i64::MAX).await, 30);
}

pub async fn live_cells_of_version_12_are_there_after_the_upgrade(db: Database) {
    let empty = db.empty().await;
    let store = Store::open(&empty.url, &StoreOptions::default()).await.unwrap();
    store.migrate_to(12).await.unwrap();
    let cells = [
        cell("b", 60, T0, 1, b"x"),
        cell("a", 60, T0 + 60 * SECOND, 1, b"y"),
        cell("a", 60, T0, 2, b"z"),
        cell("a", 3600, T0, 1, b"hour"),
    ];
    store.put_live(&cells).await.unwrap();
    store.migrate().await.unwrap();
    let [x, y, z, hour] = cells;
    assert_eq!(all(&store, None, 60).await, [z, y, x], "by endpoint and time");
    assert_eq!(all(&store, None, 3600).await, [hour]);
    store.put_live(&[cell("a", 60, T0, 2, b"replaced")]).await.unwrap();
    assert_eq!(all(&store, Some("a"), 60).await[0], cell("a", 60, T0, 2, b"replaced"));
    store.close().await;
}
