//! What a running gateway knows of a message that `motegate explain` looks at: who would get it, and
//! whether its topic has a value already.

use std::path::Path;

use crate::control::api::model::{Message, Receiver, Receivers};
use crate::control::client::{AskError, Connection, converse};
use crate::explain::{ReceiverCard, RequestCard, ResultCard};

/// Most receivers of a topic that are listed.
const MOST: usize = 20;

/// Fills in `goes_to` of what would be published, and settles the answer, if a gateway answers at
/// this socket.
pub(super) fn ask(card: &mut RequestCard, socket: &Path, qos: u8) {
    let published = |result: &&ResultCard| result.action.starts_with("publish");
    if card.refused.is_some() {
        return;
    }
    let Some(result) = card.result.as_ref().filter(published) else { return };
    let mut topics: Vec<String> = result.messages.iter().map(|(topic, _)| topic.clone()).collect();
    if topics.is_empty() && !result.topic.contains(['+', '#']) {
        topics.push(result.topic.clone());
    }
    let qos = result.qos.unwrap_or(qos).to_string();
    let asked = converse(async {
        let mut connection = Connection::open(socket).await?;
        let (mut cards, mut held) = (Vec::new(), None);
        if let [topic] = topics.as_slice() {
            let told = connection.get::<Message>("/retained", &[("topic", topic)]).await;
            held = match told {
                Ok(_) => Some(true),
                Err(AskError::Refused(problem)) if problem.status == 404 => Some(false),
                Err(_) => None,
            };
        }
        for topic in &topics {
            let limit = MOST.to_string();
            let parameters =
                [("topic", topic.as_str()), ("qos", qos.as_str()), ("limit", limit.as_str())];
            let told: Receivers = connection.get("/receivers", &parameters).await?;
            cards.extend(self::cards(&told, topics.len() > 1));
        }
        Ok::<_, AskError>((cards, held))
    });
    let Some((cards, held)) = asked.ok().and_then(Result::ok) else { return };
    card.goes_to = Some(cards);
    match held {
        Some(true) => card.answer = card.answer_if_held.take().or(card.answer.take()),
        Some(false) => card.answer_if_held = None,
        None => {}
    }
}

fn cards(told: &Receivers, name_topic: bool) -> Vec<ReceiverCard> {
    let card = |receiver: &Receiver, more: &str| {
        let of = if name_topic { format!("{}: ", told.topic) } else { String::new() };
        ReceiverCard {
            client: receiver.client.client_id.clone(),
            protocol: receiver.client.protocol.clone(),
            how: format!("{of}{}{more}", receiver.text),
        }
    };
    let mut cards: Vec<ReceiverCard> =
        told.receivers.iter().map(|receiver| card(receiver, "")).collect();
    if told.next.is_some() {
        let how = format!("and more than {MOST}: `motegate clients list`");
        cards.push(ReceiverCard { client: "…".into(), protocol: String::new(), how });
    }
    for group in &told.groups {
        let more = format!(", next of {} in $share/{}", group.members, group.share);
        cards.extend(group.next.iter().map(|next| card(next, &more)));
    }
    cards
}
