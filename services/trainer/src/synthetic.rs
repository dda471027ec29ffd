//! Examples made up for tests: users and items with tastes that can be learnt.

use std::sync::Arc;

use decant_features::{Encoded, Field, Layout, SideLayout};

use crate::dataset::{Examples, Pair};
use crate::random::Random;

const USERS: usize = 60;
const ITEMS: usize = 40;
const TAGS: usize = 6;
/// Slots of the multi-valued field.
const TAG_SLOTS: usize = 3;

/// Training, validation and test examples: different pairs over the same tables. Both sides have an id, tags and, if
/// asked for, dense columns.
pub(crate) fn split(dense: bool, seed: u64) -> [Examples; 3] {
    let mut random = Random::new(seed, "synthetic");
    let query = side_layout(USERS, 0, if dense { &["age"] } else { &[] });
    let item = side_layout(
        ITEMS,
        USERS + TAGS,
        if dense { &["price", "year"] } else { &[] },
    );
    let queries = encoded(USERS, &query, &mut random);
    let items = encoded(ITEMS, &item, &mut random);
    let taste = |random: &mut Random| [2.0 * random.uniform() - 1.0, 2.0 * random.uniform() - 1.0];
    let tastes: Vec<[f32; 2]> = (0..USERS + ITEMS).map(|_| taste(&mut random)).collect();

    let mut pairs: Vec<Pair> = (0..USERS as u32)
        .flat_map(|query| (0..ITEMS as u32).map(move |item| Pair { query, item }))
        .collect();
    random.shuffle(&mut pairs);
    pairs.truncate(1600);
    let mut label = |pair: &Pair| {
        let (user, film) = (
            tastes[pair.query as usize],
            tastes[USERS + pair.item as usize],
        );
        let logit = 6.0 * (user[0] * film[0] + user[1] * film[1]) + 2.0 * film[0];
        f32::from(u8::from(random.uniform() < crate::network::sigmoid(logit)))
    };
    let labels = pairs.iter().map(&mut label).collect();
    let all = Examples {
        layout: Arc::new(Layout {
            vocabulary: USERS + ITEMS + 2 * TAGS,
            query,
            item,
        }),
        queries: Arc::new(queries),
        users: Arc::new((0..USERS as u32).collect()),
        items: Arc::new(items),
        pairs,
        labels,
    };
    [0..1200, 1200..1400, 1400..1600].map(|positions| all.select(&positions.collect::<Vec<_>>()))
}

fn side_layout(ids: usize, first_id: usize, dense: &[&str]) -> SideLayout {
    let id = Field {
        name: "id".to_owned(),
        first_slot: 0,
        slots: 1,
        first_id,
        ids,
    };
    let tags = Field {
        name: "tags".to_owned(),
        first_slot: 1,
        slots: TAG_SLOTS,
        first_id: first_id + ids,
        ids: TAGS,
    };
    SideLayout {
        fields: vec![id, tags],
        slots: 1 + TAG_SLOTS,
        dense: dense.iter().map(|&name| name.to_owned()).collect(),
    }
}

fn encoded(rows: usize, layout: &SideLayout, random: &mut Random) -> Encoded {
    let [id, tags] = &layout.fields[..] else {
        panic!("two fields")
    };
    let (mut ids, mut weights) = (Vec::new(), Vec::new());
    for row in 0..rows {
        let used = 1 + random.below(TAG_SLOTS);
        ids.push((id.first_id + row) as i32);
        ids.extend(
            (0..TAG_SLOTS).map(|slot| {
                (tags.first_id + if slot < used { random.below(TAGS) } else { 0 }) as i32
            }),
        );
        weights.push(1.0);
        weights
            .extend((0..TAG_SLOTS).map(|slot| if slot < used { 1.0 / used as f32 } else { 0.0 }));
    }
    let dense_width = layout.dense.len();
    let dense = (0..rows * dense_width)
        .map(|_| 2.0 * random.uniform() - 1.0)
        .collect();
    Encoded {
        rows,
        slots: layout.slots,
        dense_width,
        ids,
        weights,
        dense,
    }
}
