//! The pictures in a folder: their parts, their classes, and the files that are passed over: see [`super`].

use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The endings of pictures' names.
const ENDINGS: [&str; 14] = [
    "png", "apng", "jpg", "jpeg", "jpe", "jfif", "pjpeg", "pjp", "webp", "bmp", "dib", "tif",
    "tiff", "gif",
];
/// The expectation of an error without pictures.
const EXPECTED: &str = "pictures that end in .png, .jpg, .jpeg, .webp, .bmp, .tif, .tiff or .gif";
/// Names that systems and archives leave beside pictures; those that begin with a dot are passed over as well.
const SYSTEM: [&str; 7] = [
    "__macosx",
    "thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    "@eadir",
    "$recycle.bin",
    "system volume information",
];
/// Names of the folders of parts, in any case.
const PARTS: [&[&str]; 3] =
    [&["train", "training"], &["valid", "val", "validation"], &["test", "testing"]];
/// Most folders inside each other.
const MOST_DEEP: usize = 32;
/// Most endings and folders named in a note.
const SHOWN: usize = 6;

/// The pictures of a folder by part, and remarks on what is passed over.
pub(super) struct Listing {
    pub train: Files,
    pub validation: Option<Files>,
    pub test: Option<Files>,
    pub notes: Vec<String>,
}

/// The pictures of one part.
pub(super) struct Files {
    pub paths: Vec<PathBuf>,
    /// The class of each picture, if folders are classes.
    pub classes: Option<Vec<String>>,
    /// The folder of the part.
    pub folder: PathBuf,
}

impl Listing {
    /// The pictures in a folder and in its sub-folders.
    ///
    /// # Errors
    /// [`Error::Io`] if a folder cannot be read; [`Error::File`] if there are no pictures, none to train on, two
    /// folders of one part, or pictures beside folders of classes.
    pub fn of(folder: &Path) -> Result<Self> {
        let mut walk = Walk::default();
        walk.enter(folder, &[], &mut Vec::new())?;
        let fault = |problem: String, expected: &str| {
            Err(Error::file(folder, "directory", problem, expected))
        };
        if walk.pictures.is_empty() {
            let problem = match walk.others() {
                None => "there are no pictures".into(),
                Some(others) => format!("there are no pictures, but {others}"),
            };
            return fault(problem, &format!("{EXPECTED}, or the files of MNIST or CIFAR"));
        }
        let notes = walk.notes(folder);
        let Some(depth) = walk.depth_of_parts() else {
            let train = Files::of(folder.to_path_buf(), walk.pictures)?;
            return Ok(Self { train, validation: None, test: None, notes });
        };
        // One folder around the parts is no class.
        let around = walk.pictures[0].folders[..depth].to_vec();
        let alone = walk.pictures.iter().all(|found| found.folders[..depth] == around);
        let around = if alone { around } else { Vec::new() };
        let mut parts = BTreeMap::<&str, (String, Vec<Entry>)>::new();
        for mut found in walk.pictures {
            let name = found.folders.remove(depth);
            found.folders.drain(..around.len());
            let part = part_of(&name).unwrap_or(PARTS[0][0]);
            let entry = parts.entry(part).or_insert_with(|| (name.clone(), Vec::new()));
            if entry.0 != name {
                let problem = format!("there are the folders {} and {name}", entry.0);
                return fault(problem, "one folder for each part");
            }
            entry.1.push(found);
        }
        let mut take = |key: &str| {
            let (name, found) = parts.remove(key)?;
            let own = around.iter().fold(folder.to_path_buf(), |path, name| path.join(name));
            // Where classes hold parts there is no folder for each part.
            Some(Files::of(if around.len() == depth { own.join(name) } else { own }, found))
        };
        let [train, validation, test] = PARTS.map(|names| take(names[0]));
        let Some(train) = train else {
            return fault(
                "there are held-out pictures and none to train on".into(),
                "a folder train beside them, or the path of one of them",
            );
        };
        let (validation, test) = (validation.transpose()?, test.transpose()?);
        Ok(Self { train: train?, validation, test, notes })
    }

    /// All files, training pictures first.
    pub fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        let others = self.validation.iter().chain(&self.test);
        std::iter::once(&self.train).chain(others).flat_map(|files| &files.paths)
    }
}

/// The first name of the part that a folder is named as.
fn part_of(name: &str) -> Option<&'static str> {
    let name = name.to_lowercase();
    let named = PARTS.iter().find(|names| names.contains(&name.as_str()));
    named.map(|names| names[0])
}

impl Files {
    /// The files of a part, whose remaining folders are classes.
    fn of(folder: PathBuf, found: Vec<Entry>) -> Result<Self> {
        let labelled = found.iter().any(|one| !one.folders.is_empty());
        if labelled && found.iter().any(|one| one.folders.is_empty()) {
            let problem = "there are pictures both here and in folders";
            let expected = "one or the other: folders are classes";
            return Err(Error::file(folder, "directory", problem, expected));
        }
        let classes = labelled.then(|| found.iter().map(|one| one.folders.join("/")).collect());
        Ok(Self { paths: found.into_iter().map(|one| one.path).collect(), classes, folder })
    }
}

/// A picture with the folders between it and the top.
struct Entry {
    folders: Vec<String>,
    path: PathBuf,
}

/// The contents of a folder and its sub-folders.
#[derive(Default)]
struct Walk {
    pictures: Vec<Entry>,
    /// Other files by their endings.
    endings: BTreeMap<String, usize>,
    /// The number of hidden files, system files and such folders.
    hidden: usize,
    /// Folders without pictures.
    empty: Vec<String>,
}

impl Walk {
    /// Enters a folder; `names` are the folders on the way, `above` their real paths.
    fn enter(&mut self, folder: &Path, names: &[String], above: &mut Vec<PathBuf>) -> Result<()> {
        let real = folder.canonicalize().map_err(|e| Error::io(folder, e))?;
        if above.contains(&real) || above.len() >= MOST_DEEP {
            return Ok(());
        }
        above.push(real);
        let (mut files, mut folders) = (Vec::new(), Vec::new());
        for entry in std::fs::read_dir(folder).map_err(|e| Error::io(folder, e))? {
            let path = entry.map_err(|e| Error::io(folder, e))?.path();
            match path.file_name().map(|name| name.to_string_lossy().to_lowercase()) {
                Some(name) if name.starts_with('.') || SYSTEM.contains(&name.as_str()) => {
                    self.hidden += 1;
                }
                _ if path.is_dir() => folders.push(path),
                _ => files.push(path),
            }
        }
        files.sort_unstable();
        folders.sort_unstable();
        for path in files {
            let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
            if ENDINGS.contains(&ending.as_str()) {
                self.pictures.push(Entry { folders: names.to_vec(), path });
            } else {
                *self.endings.entry(ending).or_default() += 1;
            }
        }
        for path in folders {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let inside = [names, &[name]].concat();
            let (before, empty) = (self.pictures.len(), self.empty.len());
            self.enter(&path, &inside, above)?;
            if self.pictures.len() == before {
                self.empty.truncate(empty);
                self.empty.push(inside.join("/"));
            }
        }
        above.pop();
        Ok(())
    }

    /// The depth at which every picture lies in a folder that is named as a part.
    fn depth_of_parts(&self) -> Option<usize> {
        let deepest = self.pictures.iter().map(|found| found.folders.len()).max().unwrap_or(0);
        (0..deepest).find(|&depth| {
            let name = |found: &Entry| found.folders.get(depth).and_then(|name| part_of(name));
            self.pictures.iter().all(|found| name(found).is_some())
        })
    }

    /// Other files by their endings, in words; none without such files.
    fn others(&self) -> Option<String> {
        let named = |(ending, count): (&String, &usize)| match ending.as_str() {
            "" => format!("{count} without an ending"),
            ending => format!("{count} .{ending}"),
        };
        let mut most: Vec<_> = self.endings.iter().collect();
        most.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let more: usize = most.iter().skip(SHOWN).map(|(_, count)| **count).sum();
        let mut words: Vec<String> = most.into_iter().take(SHOWN).map(named).collect();
        words.extend((more > 0).then(|| format!("{more} with other endings")));
        words.extend((self.hidden > 0).then(|| format!("{} hidden or of the system", self.hidden)));
        (!words.is_empty()).then(|| words.join(", "))
    }

    /// Remarks on what is passed over, and on folders that look like parts and are classes.
    fn notes(&self, folder: &Path) -> Vec<String> {
        let mut notes = Vec::new();
        let at = folder.display();
        notes.extend(self.others().map(|others| format!("{at}: passed over {others}")));
        if !self.empty.is_empty() {
            let more = self.empty.len().saturating_sub(SHOWN);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let names = self.empty[..self.empty.len().min(SHOWN)].join(", ");
            notes.push(format!("{at}: passed over folders without pictures: {names}{more}"));
        }
        if self.depth_of_parts().is_none() {
            let names: BTreeSet<&String> = self.pictures.iter().flat_map(|f| &f.folders).collect();
            let parts: Vec<&str> =
                names.iter().filter(|n| part_of(n).is_some()).map(|n| n.as_str()).collect();
            let keys: BTreeSet<_> = parts.iter().filter_map(|name| part_of(name)).collect();
            if keys.len() > 1 {
                let names = parts.join(", ");
                notes.push(format!(
                    "{at}: {names} are taken for classes, since not all pictures lie in such folders"
                ));
            }
        }
        notes
    }
}
