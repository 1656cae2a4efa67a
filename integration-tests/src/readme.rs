//! What a text promises, cut out so that a test can run it: the fenced blocks of Markdown, and the
//! lines to type in the comments of a configuration.

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

/// What the comments of a YAML file say to type, in order, as the same blocks.
///
/// `# $ LINE` is typed (`sh`, or `sh serve` if it ends with ` &`); the comments right behind it are
/// what it prints (`text`), as far as an empty comment or the end of the comments.
pub fn typed(yaml: &str) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let mut printing = false;
    for (line, text) in (1..).zip(yaml.lines()) {
        let comment = text.trim_start().strip_prefix('#').map(|c| c.strip_prefix(' ').unwrap_or(c));
        let block = |language: &str, text: &str| Block {
            language: language.to_owned(),
            line,
            text: format!("{text}\n"),
        };
        match comment {
            Some(comment) if comment.starts_with("$ ") => {
                let typed = &comment[2..];
                found.push(match typed.strip_suffix(" &") {
                    Some(server) => block("sh serve", server),
                    None => block("sh", typed),
                });
                printing = true;
            }
            None | Some("") => printing = false,
            Some(comment) if printing => match found.last_mut() {
                Some(last) if last.language == "text" => {
                    last.text.push_str(&format!("{comment}\n"))
                }
                _ => found.push(block("text", comment)),
            },
            Some(_) => {}
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
    #[test]
    fn lines_to_type_are_found_in_comments() {
        let found = typed(
            "# About.\n#\n# $ run &\n# $ put\n#\n# More.\n# $ get\n# a\n# b\nkey: 1 # no\n# prose\n",
        );
        let block = |language: &str, line, text: &str| Block {
            language: language.into(),
            line,
            text: text.into(),
        };
        assert_eq!(
            found,
            [
                block("sh serve", 3, "run\n"),
                block("sh", 4, "put\n"),
                block("sh", 7, "get\n"),
                block("text", 8, "a\nb\n"),
            ]
        );
    }
}
