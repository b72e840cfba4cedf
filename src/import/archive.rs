//! Files of a folder or of a zip archive (a Python wheel is one), read within limits.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use zip::ZipArchive;

use super::ImportError;

/// Size of an archive, packed, in bytes.
pub const ARCHIVE_BYTES_MAX: u64 = 512 << 20;
/// Files in an archive.
pub const ARCHIVE_ENTRIES_MAX: usize = 50_000;
/// Size of one file, unpacked, in bytes: what a zip bomb may blow up to.
pub const FILE_BYTES_MAX: u64 = 16 << 20;

/// Where files come from.
pub enum Archive {
    /// A folder.
    Folder(PathBuf),
    /// A zip file, with the names of its files.
    Zip(PathBuf, Box<ZipArchive<File>>),
}

impl Archive {
    /// Opens a folder or a zip file.
    ///
    /// # Errors
    /// It is neither, cannot be read, or is too large.
    pub fn open(path: &Path) -> Result<Archive, ImportError> {
        let failed = |e: std::io::Error| ImportError::file("read", path, &e);
        let metadata = fs::metadata(path).map_err(failed)?;
        if metadata.is_dir() {
            return Ok(Archive::Folder(path.to_owned()));
        }
        if metadata.len() > ARCHIVE_BYTES_MAX {
            return Err(too_large(path.display().to_string(), ARCHIVE_BYTES_MAX, "bytes"));
        }
        let mut file = File::open(path).map_err(failed)?;
        if entries(&mut file, metadata.len()).map_err(failed)? > ARCHIVE_ENTRIES_MAX as u64 {
            return Err(too_large(path.display().to_string(), ARCHIVE_ENTRIES_MAX as u64, "entries"));
        }
        let zip = ZipArchive::new(file).map_err(|e| ImportError::Source {
            path: path.to_owned(),
            message: format!("neither a folder nor a zip archive (a Python wheel is one): {e}"),
        })?;
        if zip.len() > ARCHIVE_ENTRIES_MAX {
            return Err(too_large(path.display().to_string(), ARCHIVE_ENTRIES_MAX as u64, "entries"));
        }
        Ok(Archive::Zip(path.to_owned(), Box::new(zip)))
    }

    /// The text of a file by its path inside, `None` when there is no such file.
    ///
    /// # Errors
    /// It cannot be read, is too large or is not UTF-8.
    pub fn text(&mut self, name: &str) -> Result<Option<String>, ImportError> {
        match self {
            Archive::Folder(dir) => {
                let path = dir.join(name);
                if !path.is_file() {
                    return Ok(None);
                }
                let file = File::open(&path).map_err(|e| ImportError::file("read", &path, &e))?;
                read_text(file, &path).map(Some)
            }
            Archive::Zip(path, zip) => {
                let place = path.join(name);
                match zip.by_name(name) {
                    Ok(file) => read_text(file, &place).map(Some),
                    Err(zip::result::ZipError::FileNotFound) => Ok(None),
                    Err(e) => Err(ImportError::Source { path: place, message: format!("the archive is damaged: {e}") }),
                }
            }
        }
    }

    /// Whether a file is there.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        match self {
            Archive::Folder(dir) => dir.join(name).is_file(),
            Archive::Zip(_, zip) => zip.index_for_name(name).is_some(),
        }
    }

    /// The folder or archive itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Archive::Folder(path) | Archive::Zip(path, _) => path,
        }
    }
}

/// How many entries an archive says it has, before its directory is read: that of each record of its end, the largest.
fn entries(file: &mut File, length: u64) -> io::Result<u64> {
    // The record of the end, the comment behind it (at most 65,535 bytes), and the long form of the record before it.
    const TAIL_BYTES: u64 = (64 << 10) + 256;
    let mut tail = Vec::new();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    file.take(TAIL_BYTES).read_to_end(&mut tail)?;
    file.seek(SeekFrom::Start(0))?;
    let number = |at: usize, bytes: usize| {
        tail.get(at..at + bytes).map_or(0, |b| b.iter().rev().fold(0_u64, |n, byte| n << 8 | u64::from(*byte)))
    };
    let short = memchr::memmem::find_iter(&tail, b"PK\x05\x06").map(|at| number(at + 10, 2)).filter(|n| *n < 0xffff);
    let long = memchr::memmem::find_iter(&tail, b"PK\x06\x06").map(|at| number(at + 32, 8));
    Ok(short.chain(long).max().unwrap_or(0))
}

fn read_text(file: impl Read, path: &Path) -> Result<String, ImportError> {
    let mut bytes = Vec::new();
    // What an archive says of its files' sizes is not believed: only so much is read.
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|e| ImportError::file("read", path, &e))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(too_large(path.display().to_string(), FILE_BYTES_MAX, "bytes"));
    }
    String::from_utf8(bytes)
        .map_err(|_| ImportError::Source { path: path.to_owned(), message: "the file is not UTF-8".to_owned() })
}

fn too_large(what: String, limit: u64, unit: &'static str) -> ImportError {
    ImportError::TooLarge { what, limit, unit }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_of_too_many_entries_is_refused_before_they_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.whl");
        // The long form of the record: 2^40 entries, and a directory that is not there.
        let mut bytes = b"PK\x06\x06".to_vec();
        bytes.extend([0; 28]);
        bytes.extend((1_u64 << 40).to_le_bytes());
        bytes.extend([0; 16]);
        bytes.extend(b"PK\x05\x06\0\0\0\0");
        bytes.extend([0xff; 4]);
        bytes.extend([0; 10]);
        std::fs::write(&path, bytes).unwrap();
        assert!(matches!(Archive::open(&path), Err(ImportError::TooLarge { unit: "entries", .. })));
    }
}
