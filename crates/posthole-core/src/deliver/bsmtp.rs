//! SMTP commands on standard output, for whoever is at the other end of a pipe.
//!
//! What was written cannot be taken back, nor is it known what became of it; so this is a
//! destination for trying things out. A file is another matter: see [`append`](super::append).

use std::io::{self, Write};
use std::path::Path;

use super::append::Batch;
use super::dispatch::Round;
use crate::durable::At;
use crate::error::Error;

/// Standard output.
pub(super) struct BsmtpOutput;

impl BsmtpOutput {
    pub(super) fn deliver(&self, round: &mut Round<'_>, way: usize) -> Result<(), Error> {
        for idx in round.waiting(way) {
            round.go_on()?;
            let sender = round.sender(idx)?;
            let mut batch = Batch::new(round.text(idx)?, &sender, round.recipients(idx, way));
            let mut output = io::stdout().lock();
            io::copy(&mut batch, &mut output)
                .and_then(|_| output.flush())
                .at("write to", Path::new("standard output"))
                .map_err(super::DeliverError::from)?;
            drop(output);
            round.got_all(&[idx], way)?;
        }
        Ok(())
    }
}
