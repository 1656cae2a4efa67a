//! README.md cut into its fenced blocks, so that a test can run what it promises.

/// A fenced block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The word behind the opening fence: `sh`, `text`, `yaml`.
    pub language: String,
    /// Line number of the first line inside.
    pub line: usize,
    /// What stands inside, every line ended.
    pub text: String,
}

/// All fenced blocks of `markdown`, in order.
pub fn blocks(markdown: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut open: Option<Block> = None;
    for (line, text) in (1..).zip(markdown.lines()) {
        match (text.strip_prefix("```"), open.take()) {
            (Some(_), Some(block)) => found.push(block),
            (Some(language), None) => {
                let language = language.trim().to_owned();
                open = Some(Block { language, line: line + 1, text: String::new() });
            }
            (None, Some(mut block)) => {
                block.text.push_str(text);
                block.text.push('\n');
                open = Some(block);
            }
            (None, None) => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_keep_their_language_place_and_text() {
        let found = blocks("one\n```sh\na\nb\n```\ntwo\n```text\nc\n```\n");
        let block = |language: &str, line, text: &str| Block {
            language: language.into(),
            line,
            text: text.into(),
        };
        assert_eq!(found, [block("sh", 3, "a\nb\n"), block("text", 8, "c\n")]);
    }
}
