//! [`trail`]: the names that lead to a file, each in its folder.
//!
//! `motegate.yaml` may be a link into another folder, that folder a link to the one of today (a
//! Kubernetes volume swaps `..data`), and so on: whatever is done to one of these names may make
//! the file another one.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// Names that are followed for one path; a circle of links is left at some point.
const MAX_NAMES: usize = 200;

/// Folders, without links in their own paths, and the name in each of them. Ends where there is
/// nothing (yet).
pub(crate) fn trail(path: &Path) -> Vec<(PathBuf, OsString)> {
    let mut trail = Vec::new();
    let mut folder = PathBuf::from(".");
    let mut rest: VecDeque<PathBuf> = parts(path).collect();
    while let Some(part) = rest.pop_front() {
        match part.components().next() {
            Some(Component::Normal(name)) if trail.len() < MAX_NAMES => {
                trail.push((folder.clone(), name.to_owned()));
                let here = folder.join(name);
                match std::fs::read_link(&here) {
                    Ok(target) => parts(&target).rev().for_each(|part| rest.push_front(part)),
                    Err(_) if std::fs::symlink_metadata(&here).is_err() => break,
                    Err(_) => folder = here,
                }
            }
            Some(Component::Normal(_)) => break,
            Some(Component::RootDir) => folder = PathBuf::from("/"),
            // The folder's own path holds no links, so this is the way back.
            Some(Component::ParentDir) => folder.push(".."),
            _ => {}
        }
    }
    trail
}

fn parts(path: &Path) -> impl DoubleEndedIterator<Item = PathBuf> {
    path.components().map(|part| PathBuf::from(part.as_os_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_are_followed_and_circles_are_left() {
        let folder = std::env::temp_dir().join(format!("motegate-trail-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(folder.join("..today")).unwrap();
        let folder = folder.canonicalize().unwrap();
        std::fs::write(folder.join("..today/a.yaml"), "").unwrap();
        symlink("..today", folder.join("..data")).unwrap();
        symlink("..data/a.yaml", folder.join("a.yaml")).unwrap();
        symlink("circle", folder.join("circle")).unwrap();
        let names = |path: &str| {
            let steps = trail(&folder.join(path));
            let below = steps.iter().filter_map(|(at, name)| {
                let at = at.strip_prefix(&folder).ok()?;
                Some(at.join(name).display().to_string())
            });
            below.collect::<Vec<_>>()
        };
        assert_eq!(names("a.yaml"), ["a.yaml", "..data", "..today", "..today/a.yaml"]);
        assert_eq!(names("none/a.yaml"), ["none"], "what is not there may come");
        assert!(names("circle").len() <= MAX_NAMES);
        assert_eq!(trail(Path::new("x")), [(PathBuf::from("."), OsString::from("x"))]);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
