//! "Did you mean …?"

/// The candidate that `word` is most likely a slip of, if any is near enough.
pub(crate) fn did_you_mean<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a (impl AsRef<str> + ?Sized + 'a)>,
) -> Option<&'a str> {
    let folded = fold(word);
    candidates
        .into_iter()
        .map(AsRef::as_ref)
        .map(|candidate| (strsim::osa_distance(&folded, &fold(candidate)), candidate))
        // A third of the letters wrong is another word.
        .filter(|(distance, candidate)| *distance <= (candidate.chars().count() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `ALLOW_PLAINTEXT` is `allow-plaintext` in another habit. Long words are cut: the distance
/// takes time with the product of the lengths, and a long word is no slip of a short one.
fn fold(word: &str) -> String {
    word.chars()
        .take(64)
        .map(|c| {
            if c == '_' {
                '-'
            } else {
                c.to_ascii_lowercase()
            }
        })
        .collect()
}
