//! Getting a password from where the plan says it is.
