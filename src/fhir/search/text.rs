//! Strings as they are compared: without case and accents (R4 section 3.1.1.4.8).

use unicode_normalization::char::decompose_canonical;

/// No more of a string than this many characters is kept in the index.
pub(super) const LENGTH: usize = 200;

/// `text` in lower case, decomposed and without combining marks, with single spaces inside and none outside.
pub(super) fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for each in text.chars() {
        if !each.is_whitespace() {
            // The order of marks does not matter, since they go.
            decompose_canonical(each, |part| {
                folded.extend(Some(part).filter(|part| !is_mark(*part)).into_iter().flat_map(char::to_lowercase))
            });
        } else if !folded.is_empty() && !folded.ends_with(' ') {
            folded.push(' ');
        }
    }
    folded.truncate(folded.trim_end().len());
    head(&folded).to_owned()
}

/// The combining marks of Latin, Greek and Cyrillic letters.
fn is_mark(each: char) -> bool {
    matches!(each, '\u{300}'..='\u{36f}' | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}')
}

/// The first [`LENGTH`] characters.
pub(super) fn head(text: &str) -> &str {
    text.char_indices().nth(LENGTH).and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}
