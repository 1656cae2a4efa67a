//! `motegate topics`: what is retained in a running gateway, and what is observed.

use clap::{Args, Subcommand};

use super::Exit;
use super::message::Output;
use super::running::{Running, count, help, plain, print, print_json, span};
use crate::control::api::model::{Audience, Level, Levels, Message, Observers};
use crate::control::client::{AskError, Connection};

/// Most levels of one page.
const PAGE: &str = "500";
/// Characters of a value in the tree.
const SHOWN: usize = 40;

/// Show the topics of a running gateway: what is retained, what is observed
#[derive(Debug, Args)]
pub(super) struct Topics {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Tree(Tree),
    Get(Get),
    Observed(Observed),
}

/// Show retained topics as a tree, with their values
#[derive(Debug, Args)]
#[command(after_help = help("\
  motegate topics tree
  motegate topics tree site --depth 1
  motegate topics tree 'site/kitchen/#'
  motegate topics tree -o ndjson"))]
struct Tree {
    /// Only what lies below this topic: `site` or `site/#`
    #[arg(value_name = "PREFIX", value_parser = prefix)]
    prefix: Option<Prefix>,
    #[command(flatten)]
    gateway: Running,
    /// Levels to descend; what lies deeper is counted
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    depth: Option<u64>,
    /// Most levels to show
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
}

/// Print the retained message of a topic
#[derive(Debug, Args)]
#[command(after_help = help("\
  motegate topics get site/door
  motegate topics get site/door -o json"))]
struct Get {
    /// Topic name
    #[arg(value_name = "TOPIC")]
    topic: String,
    #[command(flatten)]
    gateway: Running,
}

/// Show which topics CoAP clients observe, and how many do
#[derive(Debug, Args)]
#[command(after_help = help("\
  motegate topics observed
  motegate topics observed -o ndjson"))]
struct Observed {
    #[command(flatten)]
    gateway: Running,
}

impl Topics {
    pub(super) fn run(self) -> Exit {
        match self.what {
            What::Tree(tree) => tree.gateway.ask(async |connection| tree.run(connection).await),
            What::Observed(observed) => {
                observed.gateway.ask(async |connection| observed.run(connection).await)
            }
            What::Get(get) => get.gateway.ask(async |connection| get.run(connection).await),
        }
    }
}

/// `None` of everything.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Prefix(Option<String>);

/// For clap: a topic, also as the filter of what lies below it.
fn prefix(text: &str) -> Result<Prefix, String> {
    let topic = match text {
        "#" => return Ok(Prefix(None)),
        other => other.strip_suffix("/#").unwrap_or(other),
    };
    match topic.contains(['+', '#']) {
        true => Err("a topic such as site/kitchen, perhaps with /# behind it: no wildcard within"
            .to_owned()),
        false => Ok(Prefix(Some(topic.to_owned()))),
    }
}

/// A level's children that are still to be shown.
struct Branch {
    prefix: Option<String>,
    depth: u64,
    levels: std::vec::IntoIter<Level>,
    /// Where the next page begins.
    next: Option<String>,
}

impl Branch {
    async fn open(
        connection: &mut Connection,
        prefix: Option<String>,
        depth: u64,
        cursor: Option<String>,
    ) -> Result<Branch, AskError> {
        let mut asked = vec![("limit", PAGE)];
        asked.extend(prefix.as_deref().map(|prefix| ("prefix", prefix)));
        asked.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
        let page: Levels = connection.get("/topics", &asked).await?;
        Ok(Branch { prefix, depth, levels: page.levels.into_iter(), next: page.next })
    }
}

impl Tree {
    async fn run(&self, connection: &mut Connection) -> Result<(), AskError> {
        let mut left = self.limit;
        let mut all: Vec<Level> = Vec::new();
        // The way down to where we are: the order of a tree, without recursion.
        let prefix = self.prefix.clone().and_then(|Prefix(prefix)| prefix);
        let mut way = vec![Branch::open(connection, prefix.clone(), 0, None).await?];
        if way.iter().all(|branch| branch.levels.len() == 0) {
            let below = prefix.map_or(String::new(), |prefix| format!(" below `{prefix}`"));
            eprintln!("nothing is retained{below}");
        }
        while let Some(branch) = way.last_mut() {
            let Some(level) = branch.levels.next() else {
                let Some(Branch { prefix, depth, next, .. }) = way.pop() else { break };
                if next.is_some() {
                    way.push(Branch::open(connection, prefix, depth, next).await?);
                }
                continue;
            };
            if left == 0 {
                eprintln!("there is more: --limit shows more than {} levels", self.limit);
                break;
            }
            left -= 1;
            let depth = branch.depth;
            if level.below > 0 && self.depth.is_none_or(|most| depth + 1 < most) {
                let prefix = Some(level.topic.clone());
                way.push(Branch::open(connection, prefix, depth + 1, None).await?);
            }
            match self.gateway.output {
                Output::Text => print(&line(&level, depth)),
                Output::Ndjson => print_json(&level, Output::Ndjson),
                Output::Json => all.push(level),
            }
        }
        if self.gateway.output == Output::Json {
            print_json(&serde_json::json!({ "levels": all }), Output::Json);
        }
        Ok(())
    }
}

/// `  temp  21.5`, `  kitchen  3 topics`.
fn line(level: &Level, depth: u64) -> String {
    let indent = "  ".repeat(usize::try_from(depth).unwrap_or_default().min(64));
    let name = if level.level.is_empty() { "\"\"".into() } else { plain(&level.level) };
    let mut line = format!("{indent}{name}");
    if level.below > 0 {
        line.push_str(&format!("  ({})", count(level.below, "topic")));
    }
    if let Some(message) = &level.retained {
        line.push_str(&format!("  {}", preview(message)));
    }
    line.push('\n');
    line
}

fn preview(message: &Message) -> String {
    let Some(payload) = &message.payload else {
        return format!("[{}]", count(message.bytes, "byte"));
    };
    let mut text: String = plain(payload).chars().take(SHOWN).collect();
    if payload.chars().nth(SHOWN).is_some() {
        text.push('…');
    }
    text
}

impl Get {
    async fn run(&self, connection: &mut Connection) -> Result<(), AskError> {
        let told: Message = connection.get("/retained", &[("topic", &self.topic)]).await?;
        match self.gateway.output {
            Output::Text => {
                let payload = told.payload.as_ref().or(told.payload_hex.as_ref());
                print(&format!("{}\n", payload.map_or("", String::as_str)));
                eprintln!("{}", about(&told));
            }
            output => print_json(&told, output),
        }
        Ok(())
    }
}

impl Observed {
    /// Pages are printed as they come, but for the one document of `-o json`.
    async fn run(&self, connection: &mut Connection) -> Result<(), AskError> {
        let mut cursor: Option<String> = None;
        let mut all: Vec<Observers> = Vec::new();
        let mut found = 0;
        loop {
            let mut asked = vec![("limit", PAGE)];
            asked.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let page: Audience = connection.get("/observed", &asked).await?;
            found += page.topics.len();
            match self.gateway.output {
                Output::Text => page.topics.iter().for_each(|row| {
                    print(&format!("{:>7}  {}\n", row.observers, plain(&row.topic)));
                }),
                Output::Ndjson => {
                    page.topics.iter().for_each(|row| print_json(row, Output::Ndjson));
                }
                Output::Json => all.extend(page.topics),
            }
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        match self.gateway.output {
            Output::Json => print_json(&serde_json::json!({ "topics": all }), Output::Json),
            Output::Text if found == 0 => eprintln!("motegate: nothing is observed"),
            _ => {}
        }
        Ok(())
    }
}

/// What is worth knowing beside the value.
fn about(told: &Message) -> String {
    let mut parts = vec![count(told.bytes, "byte"), format!("qos {}", told.qos)];
    if told.payload_hex.is_some() {
        parts.push("not text: shown as hex".into());
    }
    parts.extend(told.content_type.as_ref().map(|kind| plain(kind)));
    parts.extend(told.publisher.as_ref().map(|client| format!("from {}", plain(client))));
    parts.extend(told.expires_in_ms.map(|millis| format!("expires in {}", span(millis))));
    parts.join(", ")
}
