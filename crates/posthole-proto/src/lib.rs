//! Sans-IO mail protocols.
