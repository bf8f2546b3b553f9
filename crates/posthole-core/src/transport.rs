//! The byte stream to a mail server, whichever way it goes.

use tokio::io::{AsyncRead, AsyncWrite};

/// A byte stream in both directions.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A stream whose kind no longer matters.
pub type BoxStream = Box<dyn Stream>;
