//! Sources of data: from the `data` table of a recipe to a data set.

use super::parts::Parts;
use super::pictures::{self, PictureOptions};
use super::table::TableOptions;
use super::{
    Binarisation, Coordinate, Dataset, Kind, Layout, Space, Split, Toy, absent, cifar, idx, npy,
    npz, shipped, table,
};
use crate::error::one_of;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The default share of held-out rows.
const HELD_OUT: f64 = 0.2;
/// The default number of training points of a toy.
const TOY_POINTS: usize = 50_000;
/// Endings of tables of other programs, and what to do about them.
const FOREIGN: [(&str, &str); 8] = [
    (
        ".parquet",
        "a .csv file: pandas.read_parquet(FILE).to_csv('data.csv', index=False) writes one",
    ),
    (
        ".feather",
        "a .csv file: pandas.read_feather(FILE).to_csv('data.csv', index=False) writes one",
    ),
    (".pkl", "a .csv or .npy file: a pickle may run code when it is read"),
    (".xlsx", "a .csv file: a spreadsheet program exports one"),
    (".xls", "a .csv file: a spreadsheet program exports one"),
    (".ods", "a .csv file: a spreadsheet program exports one"),
    (".json", "a .csv file: pandas.read_json(FILE).to_csv('data.csv', index=False) writes one"),
    (".zip", "a .csv, .csv.gz or .npz file, or a folder of pictures: unpack it first"),
];

/// A source of data: a shipped data set, a toy, a file or a folder, with its options.
///
/// A folder holds pictures, in the files of MNIST or of CIFAR-10 or CIFAR-100 in their binary versions, or as PNG,
/// JPEG, WebP, BMP, TIFF and GIF files: all in one folder, or in a sub-folder for each class, or in either way in
/// `train`, `valid` and `test`. Existing parts are kept.
///
/// ```
/// use tweedie::data::Source;
/// let moons = Source { n: Some(100), ..Source::named("moons") }.load()?;
/// assert_eq!((moons.train.len(), moons.held_out.len()), (100, 20));
/// let error = Source::named("moon").load().unwrap_err();
/// assert!(error.to_string().contains("`moons` perhaps"));
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// One of the names of [`list`], the path of a `.csv`, `.csv.gz`, `.dat`, `.npy`, `.npz` or
    /// `-images-idx3-ubyte` file, or of a folder of pictures.
    pub source: String,
    /// The label column of a table, by its name or `last`; `class` for labelled points of a toy; `none` to leave out
    /// the labels of labelled data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The columns of a table to condition its rows on, in this order: numbers or categories, which are not learnt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<Vec<String>>,
    /// The columns of a table to keep, in this order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<String>>,
    /// The columns of a table that are identifiers: no part of the model, and drawn new for each sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Vec<String>>,
    /// The map of columns of real numbers to model units; affine if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map: Option<ColumnMap>,
    /// Whether a column of real numbers in a table with at least a twentieth of its rows at one value has an indicator
    /// for it. If not given, it does in recipes of families that need no density of rows ([`Source::load`] alone: not).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub piles: Option<bool>,
    /// Whether the first line of a table names its columns; found out if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<bool>,
    /// Whether samples stay between the least and the greatest value of each column of numbers of a table; they do if
    /// not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<bool>,
    /// The share of held-out rows of a file; for a toy, the number of held-out points as a share of `n`. 0.2 if not
    /// given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_out: Option<f64>,
    /// The number of training points of a toy; 50,000 if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<usize>,
    /// Channels, height and width of the pictures in a file's rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<[usize; 3]>,
    /// Height and width to which a folder's pictures are cropped and resized; without it they must have one size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<usize>,
    /// The channels of a folder's pictures, 1 or 3; 3 if not given, unless all are grey.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<usize>,
    /// Whether damaged files in a folder of pictures are passed over, with a note, in place of an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip_damaged: Option<bool>,
    /// The binarisation of integers between two limits, such as pixels; none if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binarise: Option<Binarisation>,
    /// The seed of a file's split or of a toy's points; it is not the seed of training, so that runs may share their
    /// data.
    #[serde(default)]
    pub seed: u64,
}

/// The map of columns of real numbers to model units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ColumnMap {
    /// Shift and scale: mean 0 and variance 1.
    Affine,
    /// Then a monotone map from the quantiles of the training rows to those of the normal distribution, for long tails.
    Quantile,
}

/// The names of all named sources, each with a description of one line.
pub fn list() -> Vec<(&'static str, &'static str)> {
    let toys = Toy::ALL.map(|toy| (toy.name(), toy.description()));
    shipped::NAMES.into_iter().chain(absent::names()).chain(toys).collect()
}

impl Source {
    /// A source by its name or path, with default options.
    pub fn named(source: impl Into<String>) -> Self {
        Self {
            source: source.into(),
            label: None,
            condition: None,
            columns: None,
            id: None,
            map: None,
            piles: None,
            header: None,
            limits: None,
            held_out: None,
            n: None,
            image: None,
            size: None,
            channels: None,
            skip_damaged: None,
            binarise: None,
            seed: 0,
        }
    }

    /// Draws or reads the data.
    ///
    /// # Errors
    /// [`Error::Config`] if the name is unknown (with the nearest that is known), or if an option does not fit the
    /// source or is out of range; errors of reading files.
    pub fn load(&self) -> Result<Dataset> {
        self.load_with(false)
    }

    /// As [`load`](Self::load), with indicators of piles in tables by default or not.
    pub(crate) fn load_with(&self, piles: bool) -> Result<Dataset> {
        let data = self.grey(piles)?;
        match self.binarise {
            Some(how) => data.binarised(how),
            None => Ok(data),
        }
    }

    /// The data before binarisation.
    fn grey(&self, piles: bool) -> Result<Dataset> {
        let name = self.source.as_str();
        let path = Path::new(name);
        let lower = name.to_lowercase();
        let ending = |ending: &str| lower.ends_with(ending);
        let toy = Toy::ALL.into_iter().find(|toy| toy.name() == name);
        match (name, toy) {
            ("digits", _) => self.shipped(shipped::digits),
            ("emoji", _) => self.shipped(shipped::emoji),
            ("wine", _) => self.shipped(shipped::wine),
            _ if absent::names().iter().any(|known| known.0 == name) => {
                self.parts(&[], || absent::read(name))
            }
            (_, Some(toy)) => {
                self.only(&["n", "held_out", "label", "seed"]).and_then(|()| self.toy(toy))
            }
            _ if ending(".npy") => {
                self.only(&["held_out", "image", "seed"]).and_then(|()| self.array())
            }
            _ if ending(".npz") => self.parts(&["image"], || npz::read(path)),
            _ if table::is_table(name) => {
                let own = ["columns", "id", "map", "piles", "header", "limits", "image"];
                let options = [&["label", "condition", "held_out", "seed"], &own[..]].concat();
                self.only(&options).and_then(|()| self.table(piles))
            }
            _ if idx::is_pictures(path) => self.parts(&[], || idx::read(path, false)),
            _ if path.is_dir() => self.folder(path),
            _ => Err(self.unknown()),
        }
    }

    fn shipped(&self, load: impl FnOnce() -> Result<Dataset>) -> Result<Dataset> {
        self.only(&["label"])?;
        let keep = self.keeps_labels()?;
        load().map(|data| if keep { data } else { data.without_labels() })
    }

    fn folder(&self, path: &Path) -> Result<Dataset> {
        if let Some(pictures) = idx::in_folder(path) {
            return self.parts(&[], || idx::read(&pictures, true));
        }
        if let Some(format) = cifar::in_folder(path) {
            return self.parts(&[], || cifar::read(path, format));
        }
        let skip_damaged = self.skip_damaged.unwrap_or(false);
        let options = PictureOptions { size: self.size, channels: self.channels, skip_damaged };
        self.parts(&["size", "channels", "skip_damaged"], || pictures::read(path, options))
    }

    /// The data of a file or folder that may have a held-out part; `own` are the names of its reader's options.
    fn parts(&self, own: &[&str], read: impl FnOnce() -> Result<Parts>) -> Result<Dataset> {
        self.only(&[&["label", "held_out", "seed"], own].concat())?;
        let (keep, share) = (self.keeps_labels()?, self.share()?);
        let parts = read()?;
        if parts.held_out.is_some() {
            self.only(&[&["label"], own].concat())?;
        }
        let parts = Parts { space: self.shaped(parts.space)?, ..parts };
        let data = parts.dataset(&self.name(), share, self.seed)?;
        Ok(if keep { data } else { data.without_labels() })
    }

    /// Whether labelled data keep their labels: unless `label` is `none`.
    fn keeps_labels(&self) -> Result<bool> {
        match self.label.as_deref() {
            None => Ok(true),
            Some("none") => Ok(false),
            Some(label) => {
                let problem = format!("the source '{}' has no label '{label}'", self.source);
                Err(Error::config("label", problem, "no label, or 'none' to leave labels out"))
            }
        }
    }

    /// The name of the data of a file or folder.
    fn name(&self) -> String {
        let name = Path::new(&self.source).file_name();
        name.map_or(self.source.clone(), |name| name.to_string_lossy().into_owned())
    }

    fn toy(&self, toy: Toy) -> Result<Dataset> {
        let n = self.n.unwrap_or(TOY_POINTS);
        let share = self.share()?;
        if n == 0 || n > 1 << 26 {
            return Err(Error::config("n", n.to_string(), "from 1 to 67108864 points"));
        }
        let n = n as u64;
        let all = n + (share * n as f64).round() as u64;
        let (mut train, mut held_out) =
            (toy.split(0..n, self.seed)?, toy.split(n..all, self.seed)?);
        let mut space = Space::vector(&["x", "y"])?.fitted(train.rows())?;
        match self.label.as_deref() {
            Some("class") if !toy.classes().is_empty() => space = space.with_classes(toy.classes()),
            Some(label) => {
                let problem = format!("{} has no label '{label}'", toy.name());
                let expected = if toy.classes().is_empty() { "no label" } else { "'class'" };
                return Err(Error::config("label", problem, expected));
            }
            None => (train, held_out) = (train.without_labels(), held_out.without_labels()),
        }
        Dataset::new(toy.name(), space, train, held_out)
    }

    fn array(&self) -> Result<Dataset> {
        let npy::Array { space, rows, note } = npy::read_noted(Path::new(&self.source))?;
        let data = self.divide(space, Split::new(rows, None)?)?;
        // With `image` the order of the axes is given.
        let notes = note.filter(|_| self.image.is_none()).into_iter();
        Ok(Dataset { notes: notes.chain(data.notes).collect(), ..data })
    }

    fn table(&self, piles: bool) -> Result<Dataset> {
        if self.label.is_some() && self.condition.is_some() {
            let expected = "a label or conditions; a column of categories may be among these";
            return Err(Error::config("condition", "given beside a label", expected));
        }
        let (label, columns) = (self.label.clone(), self.columns.clone());
        let (condition, id, header) = (self.condition.clone(), self.id.clone(), self.header);
        let unlimited = self.limits == Some(false);
        let pixels = self.image.is_some();
        let options = TableOptions { label, condition, columns, id, header, unlimited, pixels };
        let table = table::read(&self.source, &options)?;
        let data = self.divide(table.space, table.rows)?;
        // Pictures have one coordinate for all pixels.
        let piles = self.piles.unwrap_or(piles) && self.image.is_none();
        let data = if piles { data.with_piles()? } else { data };
        let space = match self.map {
            Some(ColumnMap::Quantile) => data.space.normalised(data.train.rows())?,
            Some(ColumnMap::Affine) | None => data.space,
        };
        Ok(Dataset { space, notes: [table.notes, data.notes].concat(), ..data })
    }

    fn divide(&self, space: Space, all: Split) -> Result<Dataset> {
        let space = self.shaped(space)?;
        Dataset::divided(self.name(), space, &all, self.share()?, self.seed)
    }

    /// The space with the layout of `image`, if it is given: pixels share one coordinate.
    fn shaped(&self, space: Space) -> Result<Space> {
        let Some([channels, height, width]) = self.image else { return Ok(space) };
        let layout = Layout::Image { channels, height, width };
        if layout.width() != space.width() {
            let problem = format!("{channels}×{height}×{width} is {} values", layout.width());
            let expected = format!("{}, the values of a row of {}", space.width(), self.source);
            return Err(Error::config("image", problem, expected));
        }
        if !space.coordinates().iter().all(|c| c.is_number() && c.form.counts_from_zero()) {
            let problem = format!("{} mixes kinds of columns", self.source);
            return Err(Error::config("image", problem, "columns of plain numbers only"));
        }
        let kind = space.coordinates().iter().map(|c| c.kind.clone()).reduce(Kind::with);
        let pixel = Coordinate { kind: kind.unwrap_or(Kind::Real), ..Coordinate::real("pixel") };
        let mut pictures = Space::new(layout, vec![pixel])?.with_classes(space.classes().to_vec());
        pictures.given = space.given;
        Ok(pictures)
    }

    fn share(&self) -> Result<f64> {
        let share = self.held_out.unwrap_or(HELD_OUT);
        if (0.0..1.0).contains(&share) {
            return Ok(share);
        }
        Err(Error::config("held_out", share.to_string(), "a share of at least 0 and below 1"))
    }

    /// Fails if an option is set that is not among `known`.
    fn only(&self, known: &[&str]) -> Result<()> {
        let given = [
            ("label", self.label.is_some()),
            ("condition", self.condition.is_some()),
            ("columns", self.columns.is_some()),
            ("id", self.id.is_some()),
            ("map", self.map.is_some()),
            ("piles", self.piles.is_some()),
            ("header", self.header.is_some()),
            ("limits", self.limits.is_some()),
            ("held_out", self.held_out.is_some()),
            ("n", self.n.is_some()),
            ("image", self.image.is_some()),
            ("size", self.size.is_some()),
            ("channels", self.channels.is_some()),
            ("skip_damaged", self.skip_damaged.is_some()),
            ("seed", self.seed != 0),
        ];
        let Some((key, _)) = given.iter().find(|(key, given)| *given && !known.contains(key))
        else {
            return Ok(());
        };
        let problem = format!("it means nothing to the source '{}'", self.source);
        let expected = match known {
            ["label"] => "only label: the parts are as recorded".into(),
            _ => format!("only {}", known.join(", ")),
        };
        Err(Error::config(*key, problem, expected))
    }

    fn unknown(&self) -> Error {
        let names: Vec<&str> = list().into_iter().map(|(name, _)| name).collect();
        let files = [&table::ENDINGS[..], &[".npy", ".npz"]].concat().join(", ");
        if Path::new(&self.source).is_file() {
            let lower = self.source.to_lowercase();
            let foreign = FOREIGN.iter().find(|(ending, _)| lower.ends_with(ending));
            let problem =
                format!("the file '{}' is there, and its ending is not known", self.source);
            let expected =
                foreign.map_or(format!("one of {files}"), |(_, expected)| expected.to_string());
            return Error::config("source", problem, expected);
        }
        let expected = format!(
            "{}, or the path of a folder of pictures or of a file: {files}",
            one_of(&self.source, &names)
        );
        Error::config("source", format!("there is no source '{}'", self.source), expected)
    }
}
