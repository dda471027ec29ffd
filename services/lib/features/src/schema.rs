//! Which columns a model reads, and how each becomes ids or numbers. Fitted once, frozen into the bundle.

use std::collections::HashMap;

use decant_model::{Text, Texts};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::layout::{Field, Layout, SideLayout};

/// Whose property a feature is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The user's: the same for all candidates of a request.
    User,
    /// The candidate item's.
    Item,
    /// The request's, such as the hour: the same for all candidates.
    Context,
}

/// The two kinds of rows that are encoded apart: a request has one query row and many item rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// User and context features.
    Query,
    /// Item features.
    Item,
}

impl Role {
    /// The side whose rows hold features of this role.
    pub fn side(self) -> Side {
        match self {
            Role::User | Role::Context => Side::Query,
            Role::Item => Side::Item,
        }
    }
}

/// How a raw value becomes ids or a number. Everything here was learnt from training data.
///
/// Of a feature's ids, 0 always stands for a missing value. A vocabulary adds 1 for a value that training never saw.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Transform {
    /// One of the values seen in training: id 2 for the first of the vocabulary.
    Category {
        /// Known values, the most frequent first.
        vocabulary: Vec<String>,
    },
    /// Any value, by the hash of its text: ids 1 to `buckets`.
    Hash {
        /// Number of buckets.
        buckets: u32,
    },
    /// Several values at once; the first `max_length` count. An empty list is a missing value.
    Categories {
        /// Known values, the most frequent first.
        vocabulary: Vec<String>,
        /// Slots, and so the most values that count.
        max_length: usize,
    },
    /// A history, oldest first; the last `max_length` values count. An empty list is a missing value.
    Sequence {
        /// Known values, the most frequent first.
        vocabulary: Vec<String>,
        /// Slots, and so the most values that count.
        max_length: usize,
    },
    /// `(x - mean) / deviation`, but no farther from 0 than a million; a missing value becomes the mean, which is 0.
    Standard {
        /// Mean over the training rows.
        mean: f64,
        /// Standard deviation over the training rows.
        deviation: f64,
    },
    /// As `Standard`, of `sign(x) ln(1 + |x|)`.
    Log {
        /// Mean of the logarithms.
        mean: f64,
        /// Standard deviation of the logarithms.
        deviation: f64,
    },
    /// So many numbers in each row, such as an item's embedding: each is `(x - mean) / deviation` of its place; a
    /// missing list becomes the means, which are 0.
    Vector {
        /// Mean over the training rows, for each place of the list.
        mean: Vec<f64>,
        /// Standard deviation over the training rows, for each place of the list.
        deviation: Vec<f64>,
    },
    /// A number by the interval it lies in: id `1 + the number of boundaries at or below it`.
    Buckets {
        /// Ascending boundaries.
        boundaries: Vec<f64>,
    },
}

impl Transform {
    /// Ids that this feature needs in the embedding table; 0 for a feature that stays a number.
    pub fn ids(&self) -> usize {
        match self {
            Transform::Category { vocabulary }
            | Transform::Categories { vocabulary, .. }
            | Transform::Sequence { vocabulary, .. } => vocabulary.len() + FIRST_KNOWN as usize,
            Transform::Hash { buckets } => *buckets as usize + 1,
            Transform::Buckets { boundaries } => boundaries.len() + 2,
            Transform::Standard { .. } | Transform::Log { .. } | Transform::Vector { .. } => 0,
        }
    }

    /// Slots of a row that this feature takes.
    pub fn slots(&self) -> usize {
        match self {
            Transform::Category { .. } | Transform::Hash { .. } | Transform::Buckets { .. } => 1,
            Transform::Categories { max_length, .. } | Transform::Sequence { max_length, .. } => {
                *max_length
            }
            Transform::Standard { .. } | Transform::Log { .. } | Transform::Vector { .. } => 0,
        }
    }

    /// Dense columns of a row that this feature takes; 0 for a feature that becomes ids.
    pub fn dense_columns(&self) -> usize {
        match self {
            Transform::Standard { .. } | Transform::Log { .. } => 1,
            Transform::Vector { mean, .. } => mean.len(),
            _ => 0,
        }
    }

    /// Whether a row holds a list of values rather than one.
    pub fn takes_lists(&self) -> bool {
        matches!(
            self,
            Transform::Categories { .. } | Transform::Sequence { .. } | Transform::Vector { .. }
        )
    }

    fn vocabulary(&self) -> &[String] {
        match self {
            Transform::Category { vocabulary }
            | Transform::Categories { vocabulary, .. }
            | Transform::Sequence { vocabulary, .. } => vocabulary,
            _ => &[],
        }
    }
}

/// The id of a missing value, relative to the feature's first id.
pub(crate) const MISSING: i32 = 0;
/// The id of a value that training never saw, in features with a vocabulary.
pub(crate) const UNKNOWN: i32 = 1;
/// The id of a vocabulary's first value.
pub(crate) const FIRST_KNOWN: i32 = 2;

/// One fitted feature.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feature {
    /// The feature's name.
    pub name: String,
    /// The raw column it reads.
    pub column: String,
    /// Whose property it is.
    pub role: Role,
    /// How its values become ids or a number.
    pub transform: Transform,
}

/// A vocabulary turned round, for strings and, so that requests need not format them, for integers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lookup {
    pub(crate) texts: TextIndex<i32>,
    pub(crate) ints: Index<i64, i32>,
}

/// A table that requests look things up in. What it holds comes from the bundle, so that nobody who sends requests can
/// make its keys collide, and the hash may be a quick one.
pub(crate) type Index<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// Such a table of texts, the short ones by their numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct TextIndex<V> {
    short: Index<u64, V>,
    long: Index<String, V>,
}

impl<V: Copy> TextIndex<V> {
    /// With room for these.
    pub(crate) fn with_capacity(texts: &Texts) -> Self {
        let is_short = |text: &Text<'_>| matches!(text, Text::Short(_));
        let short = texts.keys().filter(is_short).count();
        let long = texts.len() - short;
        Self {
            short: Index::with_capacity_and_hasher(short, Default::default()),
            long: Index::with_capacity_and_hasher(long, Default::default()),
        }
    }

    /// What stood there before, if anything did.
    pub(crate) fn insert(&mut self, text: Text<'_>, value: V) -> Option<V> {
        match text {
            Text::Short(text) => self.short.insert(text.number(), value),
            Text::Long(text) => self.long.insert(text.to_owned(), value),
        }
    }

    pub(crate) fn get(&self, text: Text<'_>) -> Option<V> {
        match text {
            Text::Short(text) => self.short.get(&text.number()).copied(),
            Text::Long(text) => self.long.get(text).copied(),
        }
    }
}

impl Lookup {
    fn new(vocabulary: &[String]) -> Self {
        let numbered = || vocabulary.iter().zip(FIRST_KNOWN..);
        let integer = |text: &String| {
            text.parse::<i64>()
                .ok()
                .filter(|number| number.to_string() == *text)
        };
        let mut texts = TextIndex::with_capacity(&vocabulary.iter().collect());
        for (text, id) in numbered() {
            texts.insert(text.as_str().into(), id);
        }
        Self {
            texts,
            ints: numbered()
                .filter_map(|(text, id)| Some((integer(text)?, id)))
                .collect(),
        }
    }
}

/// The fitted features of a model: `features.json` in the bundle.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Schema {
    features: Vec<Feature>,
    layout: Layout,
    pub(crate) lookups: Vec<Lookup>,
}

impl PartialEq for Schema {
    fn eq(&self, other: &Self) -> bool {
        self.features == other.features
    }
}

/// A schema that contradicts itself.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SchemaError {
    /// Written by a newer Decant.
    #[error("features.json has format {found}, but this build reads formats up to {known}")]
    Format {
        /// The format found.
        found: u32,
        /// The newest format known.
        known: u32,
    },
    /// A feature cannot be right.
    #[error("feature `{feature}`: {reason}")]
    Feature {
        /// The feature's name.
        feature: String,
        /// What is wrong.
        reason: String,
    },
    /// No feature of the items, so that nothing tells them apart.
    #[error("the schema has no item feature; a model needs at least one")]
    NoFeature,
    /// Not JSON of this shape.
    #[error("features.json does not parse: {0}")]
    Json(String),
}

const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format: u32,
    features: Vec<Feature>,
}

impl TryFrom<Stored> for Schema {
    type Error = SchemaError;

    fn try_from(stored: Stored) -> Result<Self, SchemaError> {
        if stored.format > FORMAT {
            return Err(SchemaError::Format {
                found: stored.format,
                known: FORMAT,
            });
        }
        Schema::new(stored.features)
    }
}

impl From<Schema> for Stored {
    fn from(schema: Schema) -> Self {
        Stored {
            format: FORMAT,
            features: schema.features,
        }
    }
}

impl Schema {
    /// Checks fitted features and lays them out.
    ///
    /// # Errors
    /// Names the first feature that cannot be right.
    pub fn new(features: Vec<Feature>) -> Result<Self, SchemaError> {
        let mut ids = 0_usize;
        for (position, feature) in features.iter().enumerate() {
            let refuse = |reason: String| SchemaError::Feature {
                feature: feature.name.clone(),
                reason,
            };
            check(feature, &features[..position]).map_err(refuse)?;
            ids = ids.saturating_add(feature.transform.ids());
            if ids > MOST_IDS {
                return Err(refuse(format!(
                    "with it the features need {ids} ids, but there are {MOST_IDS}"
                )));
            }
        }
        if !features.iter().any(|feature| feature.role == Role::Item) {
            return Err(SchemaError::NoFeature);
        }
        let lookups = features
            .iter()
            .map(|feature| Lookup::new(feature.transform.vocabulary()))
            .collect();
        let layout = lay_out(&features);
        Ok(Self {
            features,
            layout,
            lookups,
        })
    }

    /// Reads `features.json`.
    ///
    /// # Errors
    /// As [`Schema::new`], or when the text is no such JSON.
    pub fn from_json(bytes: &[u8]) -> Result<Self, SchemaError> {
        let stored: Stored =
            serde_json::from_slice(bytes).map_err(|error| SchemaError::Json(error.to_string()))?;
        stored.try_into()
    }

    /// Writes `features.json`; the same schema always gives the same bytes.
    pub fn to_json(&self) -> Vec<u8> {
        let stored = Stored {
            format: FORMAT,
            features: self.features.clone(),
        };
        // Strings, numbers and lists of them: serde_json has no way to fail on these.
        let mut json = serde_json::to_vec_pretty(&stored).unwrap_or_default();
        json.push(b'\n');
        json
    }

    /// The features, in the order in which ids were given out.
    pub fn features(&self) -> &[Feature] {
        &self.features
    }

    /// The features of one side.
    pub fn side(&self, side: Side) -> impl Iterator<Item = &Feature> {
        self.features
            .iter()
            .filter(move |feature| feature.role.side() == side)
    }

    /// Where each feature lies in an encoded row.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }
}

/// Graphs take ids as 32-bit integers.
const MOST_IDS: usize = i32::MAX as usize;

/// The most values of one list that a model reads: the slots of a row are allocated for every row.
const LONGEST_LIST: usize = 4096;

fn check(feature: &Feature, earlier: &[Feature]) -> Result<(), String> {
    if feature.name.is_empty() || feature.column.is_empty() {
        return Err("name and column must not be empty".into());
    }
    if earlier.iter().any(|other| other.name == feature.name) {
        return Err("defined twice".into());
    }
    let clash = earlier
        .iter()
        .find(|other| other.column == feature.column && other.role.side() != feature.role.side());
    if let Some(other) = clash {
        return Err(format!(
            "column `{}` is read by `{}` as a property of the other side",
            feature.column, other.name
        ));
    }
    match &feature.transform {
        Transform::Hash { buckets: 0 } => Err("buckets must be at least 1".into()),
        Transform::Hash { buckets } if *buckets > i32::MAX as u32 / 2 => {
            Err(format!("{buckets} buckets are too many"))
        }
        Transform::Categories { max_length, .. } | Transform::Sequence { max_length, .. }
            if !(1..=LONGEST_LIST).contains(max_length) =>
        {
            Err(format!(
                "max_length is {max_length}, but must lie in 1..={LONGEST_LIST}"
            ))
        }
        Transform::Standard { mean, deviation } | Transform::Log { mean, deviation }
            if !mean.is_finite() || !deviation.is_finite() || *deviation <= 0.0 =>
        {
            Err(format!(
                "mean {mean} and deviation {deviation} must be finite and the deviation above 0"
            ))
        }
        Transform::Vector { mean, deviation } => check_vector(mean, deviation),
        Transform::Buckets { boundaries } => {
            let ascending = boundaries.windows(2).all(|pair| pair[0] < pair[1]);
            let sound = !boundaries.is_empty()
                && boundaries.iter().all(|boundary| boundary.is_finite())
                && ascending;
            if sound {
                Ok(())
            } else {
                Err(format!(
                    "boundaries must be finite and ascending: {boundaries:?}"
                ))
            }
        }
        _ => Ok(()),
    }
}

fn check_vector(mean: &[f64], deviation: &[f64]) -> Result<(), String> {
    if !(1..=LONGEST_LIST).contains(&mean.len()) || mean.len() != deviation.len() {
        return Err(format!(
            "it has {} means and {} deviations, but must have as many of both, 1 to {LONGEST_LIST}",
            mean.len(),
            deviation.len()
        ));
    }
    let sound = |(mean, deviation): (&f64, &f64)| {
        mean.is_finite() && deviation.is_finite() && *deviation > 0.0
    };
    match mean.iter().zip(deviation).position(|place| !sound(place)) {
        None => Ok(()),
        Some(place) => Err(format!(
            "mean {} and deviation {} of place {place} must be finite and the deviation above 0",
            mean[place], deviation[place]
        )),
    }
}

fn lay_out(features: &[Feature]) -> Layout {
    let mut layout = Layout {
        vocabulary: 0,
        query: SideLayout::default(),
        item: SideLayout::default(),
    };
    for feature in features {
        let side = match feature.role.side() {
            Side::Query => &mut layout.query,
            Side::Item => &mut layout.item,
        };
        let (ids, slots) = (feature.transform.ids(), feature.transform.slots());
        match &feature.transform {
            Transform::Vector { mean, .. } => {
                let names = (0..mean.len()).map(|place| format!("{}[{place}]", feature.name));
                side.dense.extend(names);
            }
            _ if slots == 0 => side.dense.push(feature.name.clone()),
            _ => {}
        }
        if slots == 0 {
            continue;
        }
        let (first_slot, first_id) = (side.slots, layout.vocabulary);
        side.fields.push(Field {
            name: feature.name.clone(),
            first_slot,
            slots,
            first_id,
            ids,
        });
        side.slots += slots;
        layout.vocabulary += ids;
    }
    layout
}
