//! A consumer: what it holds, what it makes of what arrives, and what to route by.

use std::path::PathBuf;

use super::kept::{Kept, KeptError};
use super::verify::{Accepted, Refusal, Trust, authentic, verify};
use crate::domain::{Allowlist, Micros};
use crate::signing::KeySet;

/// What a consumer does with the document it holds once that has expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnExpired {
    /// Goes on with it: an old list is better than none.
    #[default]
    Keep,
    /// Routes to every configured endpoint.
    Open,
}

/// What came of a document that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offered {
    /// It is in use from now on.
    Adopted,
    /// It is the one that was in use already.
    Known,
}

/// What to route by.
#[derive(Debug, Clone, PartialEq)]
pub enum Routing<'a> {
    /// The endpoints of a list.
    Listed {
        /// The list.
        list: &'a Allowlist,
        /// It has expired: go on, and tell somebody.
        expired: bool,
    },
    /// No list is held: every configured endpoint.
    Open,
}

/// Holds the last good document of one list, in memory and on disk.
#[derive(Debug)]
pub struct Consumer {
    trust: Trust,
    kept: Option<PathBuf>,
    on_expired: OnExpired,
    held: Option<(Accepted, Kept)>,
    unwritten: Option<KeptError>,
}

impl Consumer {
    /// With the document of a file, if there is one and it is authentic; it may have expired. The error tells why a file
    /// that is there is not used.
    #[must_use]
    pub fn open(trust: Trust, kept: impl Into<PathBuf>) -> (Consumer, Option<KeptError>) {
        let mut consumer = Consumer { kept: Some(kept.into()), ..Consumer::in_memory(trust) };
        let read = consumer.kept.as_deref().map_or(Ok(None), Kept::read);
        let problem = match read {
            Ok(None) => None,
            Ok(Some(kept)) => match authentic(kept.document.as_bytes(), kept.signature.as_deref(), &consumer.trust) {
                Ok(accepted) => {
                    consumer.held = Some((accepted, kept));
                    None
                }
                Err(refusal) => Some(KeptError::Refused(refusal)),
            },
            Err(error) => Some(error),
        };
        (consumer, problem)
    }

    /// Without a file: what it holds ends with the process.
    #[must_use]
    pub fn in_memory(trust: Trust) -> Consumer {
        Consumer { trust, kept: None, on_expired: OnExpired::Keep, held: None, unwritten: None }
    }

    /// With another rule for a document that has expired.
    #[must_use]
    pub fn on_expired(self, on_expired: OnExpired) -> Consumer {
        Consumer { on_expired, ..self }
    }

    /// Whom it believes.
    #[must_use]
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Believes these keys from now on.
    pub fn believe(&mut self, keys: KeySet) {
        self.trust.keys = keys;
    }

    /// Takes a document that has arrived, or says why not. What it held before stays in use then. A document that was
    /// accepted is in use even when it could not be written to disk: [`Consumer::unwritten`] tells.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn offer(&mut self, bytes: &[u8], signature: Option<&str>, now_us: Micros) -> Result<Offered, Refusal> {
        let held = self.held.as_ref().map(|(accepted, _)| &accepted.held);
        let accepted = verify(bytes, signature, &self.trust, held, now_us)?;
        if accepted.known && self.unwritten.is_none() {
            return Ok(Offered::Known);
        }
        let known = accepted.known;
        // JSON is UTF-8: what was read as a list is text.
        let document = String::from_utf8_lossy(bytes).into_owned();
        let kept = Kept { document, signature: signature.map(str::to_owned), adopted_at_us: now_us };
        self.unwritten = self.kept.as_deref().and_then(|path| kept.write(path).err());
        self.held = Some((accepted, kept));
        Ok(if known { Offered::Known } else { Offered::Adopted })
    }

    /// Why the document in use is not on disk; it is written again with the next offer.
    #[must_use]
    pub fn unwritten(&self) -> Option<&KeptError> {
        self.unwritten.as_ref()
    }

    /// The document in use.
    #[must_use]
    pub fn held(&self) -> Option<&Accepted> {
        self.held.as_ref().map(|(accepted, _)| accepted)
    }

    /// The document in use as it arrived: bytes and signature.
    #[must_use]
    pub fn document(&self) -> Option<&Kept> {
        self.held.as_ref().map(|(_, kept)| kept)
    }

    /// Entity tag of the document in use, for `If-None-Match`.
    #[must_use]
    pub fn etag(&self) -> Option<String> {
        self.held().map(|accepted| format!("\"{}\"", accepted.held.sha256))
    }

    /// What to route by now.
    #[must_use]
    pub fn routing(&self, now_us: Micros) -> Routing<'_> {
        let Some(accepted) = self.held() else { return Routing::Open };
        let expired = now_us >= accepted.expires_at_us;
        match (expired, self.on_expired) {
            (true, OnExpired::Open) => Routing::Open,
            _ => Routing::Listed { list: &accepted.list, expired },
        }
    }
}
