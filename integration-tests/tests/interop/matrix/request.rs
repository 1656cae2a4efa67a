//! mosquitto_rr asks: with properties in 5.0, with topics agreed on before that.

use motegate_tests::matrix::peer::Version;
use motegate_tests::matrix::world::{Row, World};
use motegate_tests::matrix::{Outcome, same};
use serde_json::json;

use super::partners;

/// Another client answers, of 5.0 if it has to read properties.
pub(super) fn request(world: &World, row: Row, qos: u64) -> Outcome {
    for partner in partners(world, row, qos) {
        let version = if row.version == Version::V5 { Version::V5 } else { partner.version };
        let partner = world.partner(row, version);
        answered(world, row, partner, qos).map_err(|error| format!("by {partner}: {error}"))?;
    }
    Ok(())
}

fn answered(world: &World, row: Row, partner: Row, qos: u64) -> Outcome {
    let (asks, answers) = (world.client(row)?, world.client(partner)?);
    let (question, answer) = (world.fresh("question"), world.fresh("answer"));
    answers.subscribe(&question, 2)?;
    let mut properties = json!({});
    if row.version == Version::V5 {
        properties = json!({"correlation_data": "c-1"});
    }
    asks.say(
        "request",
        json!({"topic": question, "answer": answer, "payload": "how warm", "qos": qos,
            "properties": properties}),
    );
    let got = answers.expect(&question, "how warm", qos, false)?;
    let mut to = answer.as_str();
    if row.version == Version::V5 {
        to = got.properties["response_topic"].as_str().ok_or("no response topic")?;
        same("response topic", to, answer.as_str())?;
        same("correlation", got.properties["correlation_data"].as_str(), Some("c-1"))?;
    }
    answers.publish_with(to, "21 \u{b0}C", qos, false, properties)?;
    let event = asks.event("answered")?;
    same("answer", event["payload"].as_str(), Some("21 \u{b0}C"))?;
    answers.disconnect()?;
    asks.disconnect()
}
