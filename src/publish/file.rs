//! Files that are replaced whole or not at all.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// A file beside another: its name with an ending.
#[must_use]
pub fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name: OsString = path.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    path.with_file_name(name)
}

/// Puts content into a file: written beside it in the same folder, synced, renamed into its place. A reader sees the old
/// content or the new one, never a part. Permissions of a file that is replaced are kept.
///
/// # Errors
/// Those of the file system; the file is as it was then.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let fresh = beside(path, ".new");
    let written = write_beside(&fresh, path, content).and_then(|()| std::fs::rename(&fresh, path));
    if written.is_err() {
        // What cannot be removed is written over the next time.
        let _ = std::fs::remove_file(&fresh);
    }
    written?;
    // The rename itself survives a loss of power where folders can be synced.
    if let Some(Ok(folder)) =
        path.parent().map(|folder| File::open(if folder.as_os_str().is_empty() { Path::new(".") } else { folder }))
    {
        let _ = folder.sync_all();
    }
    Ok(())
}

fn write_beside(fresh: &Path, path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = File::create(fresh)?;
    if let Ok(known) = std::fs::metadata(path) {
        file.set_permissions(known.permissions())?;
    }
    file.write_all(content)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_nothing_is_left_beside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.conf");
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(beside(&path, ".previous"), folder.path().join("a.conf.previous"));
        replace(&folder.path().join("missing/a.conf"), b"x").unwrap_err();
    }

    #[cfg(unix)]
    #[test]
    fn permissions_stay() {
        use std::os::unix::fs::PermissionsExt as _;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.conf");
        replace(&path, b"one").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    }
}
