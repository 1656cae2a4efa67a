//! [`Diagnostic`]: what is wrong, where, and what to do about it.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};

use crate::secret;
use crate::sources::{Position, Sources};

/// Longest line that is shown with its surroundings.
const MAX_LINE: usize = 4096;
/// Most diagnostics that are drawn at once.
const MAX_DRAWN: usize = 100;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal,)+) => {
        /// The published number of a diagnostic.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Code { $($(#[$doc])* $variant,)+ }

        impl Code {
            /// Every code, in order.
            pub const ALL: &'static [Code] = &[$(Code::$variant),+];

            /// As it is printed.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Code::$variant => $text),+ }
            }

            /// What it means, at length, with an example of wrong and one of right, as Markdown.
            #[must_use]
            pub const fn explanation(self) -> &'static str {
                match self { $(Code::$variant => include_str!(concat!("../codes/", $text, ".md"))),+ }
            }

            /// The code that a text names: `E0312`, `e0312`.
            #[must_use]
            pub fn parse(text: &str) -> Option<Code> {
                Code::ALL.iter().copied().find(|code| code.as_str().eq_ignore_ascii_case(text))
            }
        }
    };
}

codes! {
    /// The file cannot be read.
    Unreadable = "E0101",
    /// Not YAML.
    Syntax = "E0102",
    /// A key twice.
    DuplicateKey = "E0103",
    /// `<<`.
    MergeKey = "E0104",
    /// Too large, too deep, too often repeated.
    Limit = "E0105",
    /// A key that does not exist.
    UnknownKey = "E0106",
    /// A key or value that a later version has.
    NotInThisVersion = "E0107",
    /// A list where a word belongs, and the like.
    Shape = "E0108",
    /// A value that cannot be read.
    Value = "E0109",
    /// A value that is outside its range.
    Range = "E0110",
    /// A key that must be there.
    Missing = "E0111",
    /// `${…}` that stands for nothing.
    Substitution = "E0112",
    /// A name that two files give to two things.
    Conflict = "E0113",
    /// A variable or setting whose name is no place in the configuration.
    Override = "E0114",
    /// An address that cannot be listened on.
    Bind = "E0201",
    /// Two listeners of one name or address.
    ListenerTwice = "E0202",
    /// A mount, tenant or realm that topics or keys cannot hold.
    Mount = "E0203",
    /// A key that means nothing for the listener's protocol.
    NotForProtocol = "E0204",
    /// A name that no listener has.
    UnknownListener = "E0205",
    /// A certificate, key or list of revoked certificates that cannot be used.
    Tls = "E0206",
    /// A pattern.
    Pattern = "E0301",
    /// A template.
    Template = "E0302",
    /// A query target.
    Query = "E0303",
    /// A method and its meaning.
    Method = "E0304",
    /// A group of clients, or a glob.
    Group = "E0305",
    /// A pre-defined topic id.
    TopicId = "E0306",
    /// A short topic name.
    ShortName = "E0307",
    /// Two rules of one name.
    RuleName = "E0308",
    /// Publishing without a connection.
    QosMinusOne = "E0309",
    /// A payload format or a codec.
    Format = "E0310",
    /// A link of `.well-known/core`.
    Link = "E0311",
    /// Two rules that take one request.
    Overlap = "E0312",
    /// A test that cannot be run.
    Test = "E0401",
    /// A user without a name, or with another's.
    UserName = "E0501",
    /// A password that is no verifier.
    Password = "E0502",
    /// A file in `conf.d` that is not read.
    NotRead = "W0101",
    /// A secret in the open.
    InlineSecret = "W0102",
    /// A variable that is nearly a setting.
    NearlySetting = "W0103",
    /// A listener that lets nobody in.
    NobodyMayConnect = "W0201",
    /// A mount that does not end in a slash.
    MountSlash = "W0202",
    /// A certificate whose time is over, or has not come.
    CertificateTime = "W0203",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One mistake, or one thing worth a second look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Its number.
    pub code: Code,
    /// The cause.
    pub text: String,
    /// The way out.
    pub fix: String,
    /// The bytes, of those of all texts, that it is about; [`Sources`] knows the text.
    pub span: Option<Range<usize>>,
    /// Said beside them.
    pub label: String,
    /// Another place that matters, and why.
    pub other: Option<(Range<usize>, String)>,
}

impl Diagnostic {
    pub(crate) fn new(code: Code, text: impl Into<String>, fix: impl Into<String>) -> Self {
        Diagnostic {
            code,
            text: text.into(),
            fix: fix.into(),
            span: None,
            label: String::new(),
            other: None,
        }
    }

    pub(crate) fn at(mut self, span: Range<usize>) -> Self {
        self.span = Some(span);
        self
    }

    pub(crate) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    pub(crate) fn also(mut self, span: Range<usize>, why: impl Into<String>) -> Self {
        self.other = Some((span, why.into()));
        self
    }

    /// Whether it keeps the configuration from being used.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.code.as_str().starts_with('E')
    }

    /// Where it is.
    #[must_use]
    pub fn position(&self, sources: &Sources) -> Option<Position> {
        sources.position(self.span.as_ref()?.start)
    }

    /// Draws it: `file:line:column`, the line, the cause and the fix; no colours.
    #[must_use]
    pub fn render(&self, sources: &Sources) -> String {
        let level = if self.is_error() { Level::ERROR } else { Level::WARNING };
        let title = level.primary_title(self.text.as_str()).id(self.code.as_str());
        let help = Level::HELP.message(self.fix.as_str());
        let span = self.span.clone().unwrap_or(0..0);
        let Some((source, local)) = sources.local(&span) else {
            return Renderer::plain().render(&[title.element(help)]);
        };
        let Some(shown) = visible(&source.text, local).filter(|_| self.span.is_some()) else {
            let mut origin = Origin::path(source.name.as_str());
            if let Some(at) = self.position(sources).filter(|_| !source.text.is_empty()) {
                origin = origin.line(at.line).char_column(at.column);
            }
            return Renderer::plain().render(&[title.element(origin).element(help)]);
        };
        let label = (!self.label.is_empty()).then_some(self.label.as_str());
        let snippet = Snippet::source(source.text.as_str())
            .path(source.name.as_str())
            .annotation(AnnotationKind::Primary.span(shown).label(label));
        let other = self.other.as_ref().and_then(|(span, why)| {
            let (other, local) = sources.local(span)?;
            Some((other, visible(&other.text, local)?, why.as_str()))
        });
        let group = match other {
            Some((other, span, why)) if other.start == source.start => {
                let context = AnnotationKind::Context.span(span).label(why);
                title.element(snippet.annotation(context))
            }
            Some((other, span, why)) => {
                let context = Snippet::source(other.text.as_str())
                    .path(other.name.as_str())
                    .annotation(AnnotationKind::Context.span(span).label(why));
                title.element(snippet).element(context)
            }
            None => title.element(snippet),
        };
        Renderer::plain().render(&[group.element(help)])
    }
}

/// The span, if what it points at can be shown.
fn visible(text: &str, span: Range<usize>) -> Option<Range<usize>> {
    text.get(span.clone())?;
    let start = text[..span.start].rfind('\n').map_or(0, |at| at + 1);
    let end = text[span.start..].find('\n').map_or(text.len(), |at| span.start + at);
    (!text.is_empty() && end - start <= MAX_LINE && !secret::may_hold_one(&text[start..end]))
        .then(|| span.start..span.end.min(end.max(span.start)))
}

/// What reading a configuration brought to light.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    /// The texts that the diagnostics point into.
    pub sources: Sources,
    /// What was found, in the order of the texts.
    pub diagnostics: Vec<Diagnostic>,
    /// The files that were read or should have been, as far as reading came: a change of one of
    /// them may mend it.
    pub files: Vec<PathBuf>,
}

impl Findings {
    /// Whether the configuration cannot be used.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(Diagnostic::is_error)
    }

    pub(crate) fn sort(&mut self) {
        self.diagnostics.sort_by_key(|d| d.span.as_ref().map_or(usize::MAX, |span| span.start));
    }
}

/// A [`Diagnostic`] as data: for programs that read it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// `E0312`.
    pub code: &'static str,
    /// `error` or `warning`.
    pub severity: &'static str,
    /// The cause.
    pub text: String,
    /// The way out.
    pub fix: String,
    /// The text that it is about: a file's path, `environment` or `--set`.
    pub file: Option<String>,
    /// From 1.
    pub line: Option<usize>,
    /// From 1, in characters.
    pub column: Option<usize>,
}

impl Findings {
    /// All of them as data, in their order.
    #[must_use]
    pub fn list(&self) -> Vec<Finding> {
        let one = |diagnostic: &Diagnostic| {
            let at = diagnostic.position(&self.sources);
            Finding {
                code: diagnostic.code.as_str(),
                severity: if diagnostic.is_error() { "error" } else { "warning" },
                text: diagnostic.text.clone(),
                fix: diagnostic.fix.clone(),
                file: at.as_ref().map(|at| at.name.clone()),
                line: at.as_ref().map(|at| at.line),
                column: at.as_ref().map(|at| at.column),
            }
        };
        self.diagnostics.iter().map(one).collect()
    }
}

impl fmt::Display for Findings {
    /// All of them, drawn, an empty line between two; of very many, the first hundred.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, diagnostic) in self.diagnostics.iter().take(MAX_DRAWN).enumerate() {
            if i > 0 {
                f.write_str("\n\n")?;
            }
            f.write_str(&diagnostic.render(&self.sources))?;
        }
        match self.diagnostics.len().saturating_sub(MAX_DRAWN) {
            0 => Ok(()),
            more => write!(f, "\n\nand {more} more"),
        }
    }
}

impl std::error::Error for Findings {}

/// `did you mean …?`, if one of the known words is close enough.
pub(crate) fn nearest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    known
        .map(|k| (strsim::damerau_levenshtein(word, k), k))
        // One slip in three letters, two in eight, three in twelve.
        .filter(|(distance, k)| {
            let shorter = k.len().min(word.len());
            shorter >= 2 && *distance <= (1 + shorter / 4).min(3) && *distance * 2 <= shorter
        })
        .min()
        .map(|(_, k)| k)
}
