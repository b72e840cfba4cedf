//! The last good document on disk.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::verify::{DOCUMENT_BYTES_MAX, Refusal};
use crate::domain::Micros;

/// Names the form of the file.
const SCHEMA: &str = "exacto.kept/v1";
/// Largest file: a document in which every byte is escaped, and its signature.
const FILE_BYTES_MAX: u64 = 6 * DOCUMENT_BYTES_MAX as u64 + 64 * 1024;

/// A document as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The exact bytes.
    pub document: String,
    /// The signature text that came with it.
    pub signature: Option<String>,
    /// When it was adopted.
    pub adopted_at_us: Micros,
}

/// Why a file is not used, or not written.
#[derive(Debug, thiserror::Error)]
pub enum KeptError {
    /// It cannot be read or written.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// It is damaged.
    #[error("the file is damaged: {0}")]
    Damaged(String),
    /// Its document is not authentic.
    #[error("its document is refused: {0}")]
    Refused(#[from] Refusal),
}

#[derive(Serialize, Deserialize)]
struct Form {
    schema: String,
    adopted_at_us: Micros,
    signature: Option<String>,
    document: String,
}

impl Kept {
    /// Reads a file; `None` when there is none.
    ///
    /// # Errors
    /// [`KeptError`].
    pub fn read(path: &Path) -> Result<Option<Kept>, KeptError> {
        let file = match File::open(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(KeptError::Damaged("it is too long".to_owned()));
        }
        let form: Form = serde_json::from_slice(&bytes).map_err(|e| KeptError::Damaged(e.to_string()))?;
        if form.schema != SCHEMA {
            return Err(KeptError::Damaged(format!("its schema is {:?}", form.schema)));
        }
        let Form { schema: _, adopted_at_us, signature, document } = form;
        Ok(Some(Kept { document, signature, adopted_at_us }))
    }

    /// Writes a file whole or not at all: beside it first, then into its place.
    ///
    /// # Errors
    /// [`KeptError::Io`]; the file that was there is still there.
    pub fn write(&self, path: &Path) -> Result<(), KeptError> {
        let Kept { document, signature, adopted_at_us } = self.clone();
        let form = Form { schema: SCHEMA.to_owned(), adopted_at_us, signature, document };
        let text = serde_json::to_vec(&form).map_err(std::io::Error::other)?;
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let fresh = path.with_file_name(name);
        let mut file = File::create(&fresh)?;
        file.write_all(&text)?;
        file.sync_all()?;
        Ok(std::fs::rename(&fresh, path)?)
    }
}
