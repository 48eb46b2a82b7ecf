//! Where files lie in their repository: code scanning services and workflows know no other place.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// The repository that files are said to be in.
#[derive(Debug)]
pub(super) struct Repository {
    here: PathBuf,
    root: PathBuf,
}

impl Repository {
    /// The repository of the first of some files that lies in one; else that of the folder that the command runs in,
    /// or that folder itself.
    pub(super) fn of<'a>(files: impl Iterator<Item = &'a str>) -> Self {
        let here = std::env::current_dir().unwrap_or_default();
        let mut looked: BTreeMap<PathBuf, Option<PathBuf>> = BTreeMap::new();
        let found = files.into_iter().find_map(|file| {
            let folder = plain(&here.join(file)).parent()?.to_path_buf();
            looked.entry(folder.clone()).or_insert_with(|| root_around(&folder)).clone()
        });
        let root = found.or_else(|| root_around(&here)).unwrap_or_else(|| here.clone());
        Self { here, root }
    }

    /// A repository of a test's own, whatever the folder that the test runs in.
    #[cfg(test)]
    pub(super) fn at(root: &str) -> Self {
        Self { here: PathBuf::from(root), root: PathBuf::from(root) }
    }

    /// The file's path from the root, its parts joined by `/`; none where it lies elsewhere.
    pub(super) fn relative(&self, file: &str) -> Option<Vec<String>> {
        let path = plain(&self.here.join(file));
        let within = path.strip_prefix(&self.root).ok()?;
        Some(within.iter().map(|part| part.to_string_lossy().into_owned()).collect())
    }

    /// The file's path from the root of the machine.
    pub(super) fn absolute(&self, file: &str) -> Vec<String> {
        let path = plain(&self.here.join(file));
        let parts = path.components().filter_map(|part| match part {
            Component::Normal(part) => Some(part.to_string_lossy().into_owned()),
            _ => None,
        });
        parts.collect()
    }
}

/// The folder at or around another that has a `.git`, which is a file in a work tree.
fn root_around(folder: &Path) -> Option<PathBuf> {
    folder.ancestors().find(|folder| folder.join(".git").exists()).map(Path::to_path_buf)
}

/// A path without `.` and `..`. Links are not followed, as the repository knows a file by the path that leads there.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_is_told_from_the_root_of_its_repository() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join("one/.git")).unwrap();
        fs::create_dir_all(root.join("one/deep/er")).unwrap();
        let inside = root.join("one/deep/er/../a.yaml").to_string_lossy().into_owned();
        let outside = root.join("b.yaml").to_string_lossy().into_owned();
        let repository = Repository::of([outside.as_str(), inside.as_str()].into_iter());
        assert_eq!(repository.relative(&inside), Some(vec!["deep".to_owned(), "a.yaml".to_owned()]));
        assert_eq!(repository.relative(&outside), None);
        assert_eq!(repository.absolute(&outside).last().map(String::as_str), Some("b.yaml"));
    }

    #[test]
    fn without_a_repository_the_folder_that_the_command_runs_in_is_the_root() {
        let here = std::env::current_dir().unwrap();
        let inside = here.join("src/x.yaml").to_string_lossy().into_owned();
        let repository = Repository { here: here.clone(), root: here };
        assert_eq!(repository.relative(&inside), repository.relative("./src/x.yaml"));
    }
}
