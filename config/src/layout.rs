//! Lines and columns of a YAML text: what [`format`](mod@crate::format) changes.
//!
//! Where the texts are is known from the parser. All that is not in one of them is indentation,
//! brackets, commas, colons, dashes, anchors, tags and comments. Block structure is a matter of
//! columns, so a stack of them, old and new, is all that indentation needs.

use std::ops::Range;

/// A text in the text.
#[derive(Debug, Clone)]
pub(crate) struct Scalar {
    pub(crate) span: Range<usize>,
    /// `|` or `>`.
    pub(crate) block: bool,
}

/// Where a comment is in a line that begins at `start`.
fn comment(line: &str, start: usize, scalars: &[Scalar]) -> Option<usize> {
    let mut before = ' ';
    for (at, c) in line.char_indices() {
        let inside = || {
            let after = scalars.partition_point(|s| s.span.start <= start + at);
            after
                .checked_sub(1)
                .and_then(|i| scalars.get(i))
                .is_some_and(|s| s.span.end > start + at)
        };
        if c == '#' && matches!(before, ' ' | '\t') && !inside() {
            return Some(at);
        }
        before = c;
    }
    None
}

/// The comments of a text, in order.
pub(crate) fn comments<'t>(text: &'t str, scalars: &'t [Scalar]) -> impl Iterator<Item = &'t str> {
    lines(text)
        .filter_map(|(start, line)| comment(line, start, scalars).map(|at| line[at..].trim_end()))
}

fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut start = 0;
    text.split('\n').map(move |line| {
        let at = start;
        start += line.len() + 1;
        (at, line)
    })
}

/// What a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Blank,
    Comment,
    /// It begins something.
    Begin,
    /// It goes on inside brackets or inside a text.
    Continue,
    /// It is inside a text of a block, whose first column is here.
    Block(usize),
}

/// An open level of block structure.
#[derive(Debug, Clone, Copy)]
struct Level {
    old: usize,
    new: usize,
    list: bool,
}

/// Lays a text out anew.
///
/// # Errors
/// What cannot be moved.
pub(crate) fn lay_out(text: &str, scalars: &[Scalar]) -> Result<String, String> {
    let lines: Vec<(usize, &str)> = lines(text).collect();
    let roles = roles(&lines, scalars)?;
    let indents = indents(&lines, &roles, scalars);
    let mut out: Vec<String> = Vec::new();
    for (((start, line), role), indent) in lines.iter().zip(&roles).zip(&indents) {
        match role {
            Role::Blank => {
                if out.last().is_some_and(|last| !last.trim().is_empty()) {
                    out.push(String::new());
                }
            }
            Role::Block(old) => {
                let content = line.get(*old..).unwrap_or_default();
                let pad = if content.is_empty() { 0 } else { *indent };
                out.push(format!("{:pad$}{content}", ""));
            }
            // A line in the middle of a quoted text may be blank: it is part of it.
            Role::Continue if line.trim().is_empty() => out.push(String::new()),
            _ => out.push(tidy(*start, line, *indent, scalars)),
        }
    }
    while out.last().is_some_and(|line| line.is_empty()) {
        out.pop();
    }
    let mut text = out.join("\n");
    if !text.is_empty() {
        text.push('\n');
    }
    Ok(text)
}

fn column(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

fn roles(lines: &[(usize, &str)], scalars: &[Scalar]) -> Result<Vec<Role>, String> {
    let mut roles = Vec::with_capacity(lines.len());
    let mut depth = 0_usize; // of brackets
    let mut scalars_left = scalars.iter().peekable();
    let mut text_end = 0; // of the last text that began
    let mut block: Option<(usize, usize)> = None; // end and first column of a block's text
    for (number, (start, line)) in lines.iter().enumerate() {
        if block.is_some_and(|(end, _)| *start >= end) {
            block = None;
        }
        let role = match block {
            Some((_, column)) => Role::Block(column),
            None if *start < text_end || depth > 0 && !line.trim().is_empty() => Role::Continue,
            None if line.trim().is_empty() => Role::Blank,
            None if line.trim_start().starts_with('#') => Role::Comment,
            None => Role::Begin,
        };
        roles.push(role);
        if matches!(role, Role::Block(_)) {
            continue;
        }
        let end = start + line.len();
        let from = text_end.max(*start);
        let mut at = from;
        let structure = comment(line, *start, scalars).map_or(end, |c| start + c);
        loop {
            let next = scalars_left.peek().filter(|s| s.span.start <= end && !s.block).copied();
            let until = next.map_or(structure, |s| s.span.start).min(structure).max(at);
            depth = brackets(&line[at - start..until - start], depth);
            let Some(scalar) = next else { break };
            scalars_left.next();
            text_end = text_end.max(scalar.span.end);
            at = scalar.span.end.clamp(at, end);
        }
        let head = line[..structure - start].trim_end();
        let next = scalars_left.peek().filter(|scalar| scalar.block && is_block_head(head));
        let Some(scalar) = next.filter(|scalar| follows(lines, number, scalar)) else { continue };
        if head.trim_end_matches(['+', '-']).ends_with(|c: char| c.is_ascii_digit()) {
            let cause = "a text with an indentation of its own cannot be moved";
            return Err(format!("line {}: {cause}", number + 1));
        }
        let first = lines.partition_point(|(start, _)| *start <= scalar.span.start);
        let start = first.checked_sub(1).and_then(|i| lines.get(i)).map_or(0, |(start, _)| *start);
        block = Some((scalar.span.end, scalar.span.start - start));
        scalars_left.next();
    }
    Ok(roles)
}

/// `|` or `>` with what may follow, at the end of a line.
fn is_block_head(head: &str) -> bool {
    let bare = head.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-'));
    bare.ends_with(['|', '>'])
}

/// Whether the next line that is not blank is that of the text.
fn follows(lines: &[(usize, &str)], number: usize, scalar: &Scalar) -> bool {
    let next = lines.get(number + 1..).unwrap_or_default();
    let next = next.iter().find(|(_, line)| !line.trim().is_empty());
    next.is_some_and(|(start, line)| (*start..=start + line.len()).contains(&scalar.span.start))
}

/// Brackets open after a piece without texts.
fn brackets(piece: &str, depth: usize) -> usize {
    piece.bytes().fold(depth, |depth, b| match b {
        b'{' | b'[' => depth + 1,
        b'}' | b']' => depth.saturating_sub(1),
        _ => depth,
    })
}

/// The new indentation of each line.
fn indents(lines: &[(usize, &str)], roles: &[Role], scalars: &[Scalar]) -> Vec<usize> {
    let mut levels: Vec<Level> = Vec::new();
    let mut out = vec![0; lines.len()];
    let (mut old, mut new) = (0, 0); // of the last line that began something
    for (i, ((start, line), role)) in lines.iter().zip(roles).enumerate() {
        match role {
            Role::Begin => {
                old = column(line);
                new = begin(&mut levels, *start, line, scalars);
                out[i] = new;
            }
            Role::Continue => {
                let column = column(line);
                let closing = line.trim_start().starts_with(['}', ']']);
                let least = if closing { new } else { new + 1 };
                out[i] = (column + new).saturating_sub(old).max(least);
            }
            // Two more than the level that the text hangs on.
            Role::Block(_) => out[i] = levels.last().map_or(2, |level| level.new + 2),
            Role::Blank | Role::Comment => {}
        }
    }
    comment_indents(lines, roles, &mut out);
    out
}

/// Opens and closes levels for a line, and says where it goes.
fn begin(levels: &mut Vec<Level>, start: usize, line: &str, scalars: &[Scalar]) -> usize {
    let mut old = column(line);
    if line.starts_with("---") || line.starts_with("...") || line.starts_with('%') {
        levels.clear();
        return 0;
    }
    let mut first = None;
    let mut inline: Option<usize> = None; // new column of what follows a dash
    loop {
        let rest = &line[old..];
        let in_text = scalars.binary_search_by_key(&(start + old), |s| s.span.start).is_ok();
        let list = !in_text && (rest == "-" || rest.starts_with("- "));
        while levels.last().is_some_and(|l| l.old > old || l.old == old && l.list && !list) {
            levels.pop();
        }
        let new = match levels.last() {
            Some(level) if level.old == old && level.list == list => level.new,
            // A list in the column of its key stands two further in.
            Some(level) => {
                let new = inline.unwrap_or(level.new + 2);
                levels.push(Level { old, new, list });
                new
            }
            None => {
                levels.push(Level { old, new: 0, list });
                0
            }
        };
        first = first.or(Some(new));
        let content = list.then(|| rest[1..].len() - rest[1..].trim_start().len() + 1);
        match content {
            Some(skip) if old + skip < line.len() && !line[old + skip..].starts_with('#') => {
                old += skip;
                inline = Some(new + 2);
            }
            _ => return first.unwrap_or(0),
        }
    }
}

/// A comment goes with the line below it that was in its column, else with one above it.
fn comment_indents(lines: &[(usize, &str)], roles: &[Role], out: &mut [usize]) {
    for i in 0..lines.len() {
        if roles[i] != Role::Comment {
            continue;
        }
        let at = column(lines[i].1);
        let begins = |j: &usize| roles[*j] == Role::Begin;
        let next = (i + 1..lines.len()).find(begins);
        let above = (0..i).rev().filter(begins).take(1_000);
        let same = |j: &usize| column(lines[*j].1) == at;
        out[i] = match next.filter(same) {
            Some(next) => out[next],
            None => match above.into_iter().find(same) {
                Some(above) => out[above],
                // Between two levels: with what comes.
                None => next.map_or(0, |next| out[next]),
            },
        };
    }
}

/// One line: its indentation, one space where one does, the comment in its column.
fn tidy(start: usize, line: &str, indent: usize, scalars: &[Scalar]) -> String {
    let at_comment = comment(line, start, scalars).unwrap_or(line.len());
    let (code, comment) = line.split_at(at_comment);
    let mut out = " ".repeat(indent);
    let skip = code.len() - code.trim_start().len();
    let mut at = start + skip;
    let end = start + code.trim_end().len().max(skip);
    let first = scalars.partition_point(|s| s.span.end <= at);
    for scalar in scalars[first..].iter().take_while(|s| s.span.start < end) {
        if scalar.span.start > at {
            space(&mut out, &line[at - start..scalar.span.start - start]);
        }
        let to = scalar.span.end.min(end);
        if to > at {
            let from = scalar.span.start.max(at);
            out.push_str(&line[from - start..to - start]);
            at = to;
        }
    }
    if at < end {
        space(&mut out, &line[at - start..end - start]);
    }
    let length = out.trim_end().len();
    out.truncate(length);
    let comment = comment.trim_end();
    if comment.is_empty() {
        return out;
    }
    if code.trim().is_empty() {
        return format!("{:indent$}{comment}", "");
    }
    // Where it was, moved as the line was.
    let column = (code.chars().count() + indent).saturating_sub(skip);
    let pad = column.saturating_sub(out.chars().count()).max(1);
    format!("{out}{:pad$}{comment}", "")
}

/// Adds a piece without texts: brackets, commas, colons, dashes, anchors.
fn space(out: &mut String, piece: &str) {
    for c in piece.chars() {
        let last = out.chars().next_back();
        match c {
            ' ' | '\t' => {
                if !matches!(last, None | Some(' ' | '{' | '[')) {
                    out.push(' ');
                }
            }
            '}' | ']' | ',' | ':' => {
                // Not the indentation, and not what an alias needs before its colon.
                let trimmed = out.trim_end_matches(' ').len();
                let names = out[..trimmed].rsplit([' ', '{', '[', ',']).next().unwrap_or_default();
                let alias = c == ':' && names.starts_with('*');
                if trimmed > 0 && !alias {
                    out.truncate(trimmed);
                }
                out.push(c);
                if matches!(c, ',' | ':') {
                    out.push(' ');
                }
            }
            c => out.push(c),
        }
    }
}
