//! Topic rewriting by regular expressions, as a pattern and a template: where that can be done
//! exactly and in both directions.

/// A level of a topic that an expression takes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Level {
    Literal(String),
    /// A group: as it is written in a pattern after its name (`:~\d+`), or nothing for any level.
    One(String),
    /// A group that takes the rest.
    Tail,
}

/// Why an expression stays where it was.
type Fault = &'static str;

/// Makes a pattern and a template of a filter, an expression and a destination.
///
/// # Errors
/// What cannot be said with a pattern, or cannot be undone.
pub(crate) fn convert(filter: &str, re: &str, dest: &str) -> Result<(String, String), Fault> {
    let mut levels = expression(re)?;
    narrow(filter, &mut levels)?;
    let topic = destination(dest, &levels)?;
    let mut group = 0;
    let pattern: Vec<String> = levels
        .iter()
        .map(|level| match level {
            Level::Literal(text) => super::literal(&text.replace('%', "%25")),
            Level::One(form) => {
                group += 1;
                format!("{{c{group}{form}}}")
            }
            Level::Tail => {
                group += 1;
                format!("{{c{group}...}}")
            }
        })
        .collect();
    Ok((pattern.join("/"), topic))
}

fn expression(re: &str) -> Result<Vec<Level>, Fault> {
    let body = re.strip_prefix('^').and_then(|body| body.strip_suffix('$'));
    let body = body.filter(|body| !body.ends_with('\\'));
    let body = body.ok_or("the expression is not anchored with ^ and $")?;
    let parts = split(body)?;
    let last = parts.len() - 1;
    parts.iter().enumerate().map(|(i, part)| level(part, i == last)).collect()
}

/// At the slashes outside of groups and classes.
fn split(body: &str) -> Result<Vec<String>, Fault> {
    let mut parts = vec![String::new()];
    let (mut depth, mut class, mut escaped) = (0_usize, false, false);
    for c in body.chars() {
        match c {
            _ if escaped => {}
            '[' if !class => class = true,
            ']' if class => class = false,
            '(' if !class => depth += 1,
            ')' if !class => depth = depth.checked_sub(1).ok_or("the groups are not balanced")?,
            '/' if !class && depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        escaped = c == '\\' && !escaped;
        if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    if depth > 0 || class || escaped { Err("the groups are not balanced") } else { Ok(parts) }
}

fn level(part: &str, last: bool) -> Result<Level, Fault> {
    const MIXED: Fault = "a level is neither a fixed text nor one group";
    let Some(inside) = part.strip_prefix('(').and_then(|part| part.strip_suffix(')')) else {
        return literal(part).map(Level::Literal).ok_or(MIXED);
    };
    let words = || inside.split('|').map(literal).collect::<Option<Vec<String>>>();
    match inside {
        ".+" | ".*" if last => Ok(Level::Tail),
        ".+" | ".*" => Err("a group in the middle may take several levels"),
        "[^/]+" | "[^/]*" => Ok(Level::One(String::new())),
        _ if words().is_some_and(|words| words.iter().all(|word| is_word(word))) => {
            Ok(Level::One(format!(":{inside}")))
        }
        // What cannot match a slash stays within its level.
        _ if within(inside) => Ok(Level::One(format!(":~{inside}"))),
        _ => Err("a group may take several levels"),
    }
}

fn is_word(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
}

/// The text that an expression without any freedom takes.
fn literal(part: &str) -> Option<String> {
    let mut text = String::new();
    let mut chars = part.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => text.push(chars.next().filter(|c| !c.is_alphanumeric())?),
            '.' | '*' | '+' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '|' | '^' | '$' => {
                return None;
            }
            '#' | '\0' => return None,
            c => text.push(c),
        }
    }
    Some(text)
}

/// Whether an expression surely matches no slash: letters, digits, classes of them, repetitions.
fn within(inside: &str) -> bool {
    let mut chars = inside.chars().peekable();
    let mut class = false;
    while let Some(c) = chars.next() {
        let good = match c {
            '\\' => matches!(chars.next(), Some('d' | 'w' | '.' | '-' | '_')),
            '[' if !class => {
                class = true;
                chars.peek() != Some(&'^')
            }
            ']' if class => {
                class = false;
                true
            }
            '-' if class => chars.peek().is_some_and(|c| c.is_ascii_alphanumeric() || *c == ']'),
            '+' | '*' | '?' | '{' | '}' | ',' => !class,
            c => c.is_ascii_alphanumeric() || "_-:".contains(c),
        };
        if !good {
            return false;
        }
    }
    !class && !inside.is_empty()
}

/// Brings the filter in: it may pin a rest to one level, but not ask for more than the expression.
fn narrow(filter: &str, levels: &mut [Level]) -> Result<(), Fault> {
    const NARROWER: Fault = "source_topic asks for more than the expression";
    let mut rest = levels.iter_mut();
    for part in filter.split('/') {
        match (part, rest.next()) {
            ("#", _) => return Ok(()),
            ("+", Some(level)) => {
                if *level == Level::Tail {
                    *level = Level::One(String::new());
                }
            }
            (text, Some(Level::Literal(literal))) if literal == text => {}
            _ => return Err(NARROWER),
        }
    }
    let open = levels.last() == Some(&Level::Tail);
    if open || levels.len() != filter.split('/').count() { Err(NARROWER) } else { Ok(()) }
}

/// The template: every group once, as a whole level, the rest last.
fn destination(dest: &str, levels: &[Level]) -> Result<String, Fault> {
    const ONCE: Fault =
        "a group is not used exactly once as a level of its own: the way back is lost";
    let groups: Vec<&Level> = levels.iter().filter(|l| !matches!(l, Level::Literal(_))).collect();
    let mut used = vec![false; groups.len()];
    let mut out = Vec::new();
    let parts: Vec<&str> = dest.split('/').collect();
    for (i, part) in parts.iter().enumerate() {
        if matches!(*part, "${clientid}" | "%c") {
            out.push("{client}".to_owned());
            continue;
        }
        if part.contains(['+', '#', '%']) || part.contains("${") {
            return Err("the destination holds a wildcard or a placeholder that is not known");
        }
        let Some(number) =
            part.strip_prefix('$').filter(|n| n.starts_with(|c: char| c.is_ascii_digit()))
        else {
            if part.contains('$') && i > 0 || part.chars().skip(1).any(|c| c == '$') {
                return Err(ONCE);
            }
            out.push(super::literal(part));
            continue;
        };
        let at = number.parse::<usize>().ok().and_then(|n| n.checked_sub(1)).ok_or(ONCE)?;
        let (Some(level), Some(seen)) = (groups.get(at), used.get_mut(at)) else {
            return Err(ONCE);
        };
        if std::mem::replace(seen, true) || **level == Level::Tail && i + 1 < parts.len() {
            return Err(ONCE);
        }
        out.push(format!("{{c{}}}", at + 1));
    }
    if used.contains(&false) {
        return Err(ONCE);
    }
    Ok(out.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_pattern_can_say() {
        for (filter, re, dest, expected) in [
            ("x/#", "^x/y/(.+)$", "x/y/z/$1", "x/y/{c1...} x/y/z/{c1}"),
            ("x/y/+", "^x/y/(.+)$", "z/$1", "x/y/{c1} z/{c1}"),
            ("x/+/+", r"^x/([^/]+)/(\d+)$", "n/$2/$1", r"x/{c1}/{c2:~\d+} n/{c2}/{c1}"),
            (
                "a/+/#",
                "^a/([0-9a-f]{4})/(.*)$",
                "b/$1/$2",
                "a/{c1:~[0-9a-f]{4}}/{c2...} b/{c1}/{c2}",
            ),
            ("#", "^(t|h)/v1\\.0/100%$", "v/$1", "{c1:t|h}/v1.0/100%25 v/{c1}"),
            ("d/#", "^d/(.+)$", "dev/${clientid}/$1", "d/{c1...} dev/{client}/{c1}"),
        ] {
            let (pattern, topic) =
                convert(filter, re, dest).unwrap_or_else(|e| panic!("{re}: {e}"));
            assert_eq!(format!("{pattern} {topic}"), expected);
        }
    }

    #[test]
    fn what_stays_where_it_was() {
        for (filter, re, dest, fault) in [
            ("x/#", "x/y/(.+)$", "z/$1", "anchored"),
            ("x/#", "^x/y/(.+)", "z/$1", "anchored"),
            ("y/+/z/#", "^y/(.+)/z/(.+)$", "y/z/$2", "several levels"),
            ("x/#", "^x/([^/]+)/(.+)$", "x/$1", "way back"),
            ("x/#", "^x/(.+)$", "x/$1/y", "way back"),
            ("x/#", "^x/(.+)$", "x/a$1", "way back"),
            ("x/#", "^x/(.+)$", "x/$1/$1", "way back"),
            ("x/#", "^x/(.+)$", "x/$2", "way back"),
            ("x/#", "^x/a.c/(.+)$", "x/$1", "neither"),
            ("x/#", "^x/([^a]+)$", "x/$1", "several levels"),
            ("x/y/#", "^x/(.+)$", "z/$1", "more than"),
            ("x", "^x/(.+)$", "z/$1", "more than"),
            ("x/#", "^x/(.+)$", "z/${username}/$1", "placeholder"),
            ("x/#", "^x/(.+$", "z/$1", "balanced"),
        ] {
            let error = convert(filter, re, dest).unwrap_err();
            assert!(error.contains(fault), "{re} → {dest}: {error}");
        }
    }
}
