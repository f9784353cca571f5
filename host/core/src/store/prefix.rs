//! Where texts with a common beginning end, in the order of their bytes.

/// The least text that is greater than all that begin with `text`; `None` when there is none.
pub fn end_of_prefix(text: &str) -> Option<String> {
    let mut chars: Vec<char> = text.chars().collect();
    while let Some(last) = chars.pop() {
        // Surrogates are no characters.
        let next = if last == '\u{D7FF}' { Some('\u{E000}') } else { char::from_u32(u32::from(last) + 1) };
        if let Some(next) = next {
            chars.push(next);
            return Some(chars.into_iter().collect());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_is_found() {
        assert_eq!(end_of_prefix("ab"), Some("ac".into()));
        assert_eq!(end_of_prefix("a\u{10FFFF}"), Some("b".into()));
        assert_eq!(end_of_prefix("\u{D7FF}"), Some("\u{E000}".into()));
        assert_eq!(end_of_prefix("\u{10FFFF}\u{10FFFF}"), None);
        assert_eq!(end_of_prefix(""), None);
    }
}
